/** Where the build put a program of that name, if it did. */
export function nativeProgram(name: string): string | undefined;
/** Where the CUDA plug-in lies once it is built. */
export const cudaPlugin: string;
