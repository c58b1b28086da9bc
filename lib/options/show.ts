/** A value as it appears in a message: exact for what is short, described for what is long. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value);
  if (typeof value === 'number' && Object.is(value, -0)) return '-0';
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  if (typeof value !== 'object' || value === null) return String(value);
  if (ArrayBuffer.isView(value)) return showArray(value);
  const name = value.constructor?.name;
  if (name !== undefined && name !== 'Object' && name !== 'Array') return `an instance of ${name}`;
  try {
    const text = JSON.stringify(value, (_, part: unknown) => (ArrayBuffer.isView(part) ? showArray(part) : part));
    return text.length > 60 ? `${text.slice(0, 57)}…` : text;
  } catch {
    return 'an object';
  }
}

/** 'Int32Array(256)' */
function showArray(view: ArrayBufferView): string {
  return `${view.constructor.name}(${'length' in view ? view.length : view.byteLength})`;
}
