/** Where the build put a program of that name, if it did. */
export function nativeProgram(name: string): string | undefined;
/** Where the CUDA plug-in lies once it is built. */
export const cudaPlugin: string;
/** The TensorRT plug-ins that are built, by file name. */
export function tensorRtPlugins(): string[];
