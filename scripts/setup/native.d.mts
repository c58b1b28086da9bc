/** Where the build put a program of that name, if it did. */
export function nativeProgram(name: string): string | undefined;
