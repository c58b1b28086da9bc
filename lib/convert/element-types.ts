/** Rounding between element types, to the nearest and ties to even, as PyTorch does. All values are little-endian. */
import { type ElementType, elementBytes } from '../checkpoints/tensors.js';
import { PaellaError } from '../errors.js';

/** What a component's weights are stored in; 'keep' leaves each tensor as it is. */
export const precisions = ['keep', 'fp32', 'bf16', 'fp16'] as const;
export type ConvertPrecision = (typeof precisions)[number];

const targets: Record<Exclude<ConvertPrecision, 'keep'>, ElementType> = { fp32: 'F32', bf16: 'BF16', fp16: 'F16' };
const floats: ReadonlySet<ElementType> = new Set(['F64', 'F32', 'F16', 'BF16']);

/** Whole numbers stay what they are; F64 becomes F32 at most, because the engine reads no F64. */
export function targetType(source: ElementType, precision: ConvertPrecision): ElementType {
  if (!floats.has(source)) return source;
  if (precision === 'keep') return source === 'F64' ? 'F32' : source;
  return targets[precision];
}

/**
 * Converts `count` elements. Both arrays begin at a multiple of eight bytes of their buffers.
 * @param name of the tensor, for messages
 * Throws `ERR_NUMERIC` if a finite value is beyond the range of fp16, or one of F64 beyond that of fp32.
 */
export function convertElements(
  source: Uint8Array,
  from: ElementType,
  target: Uint8Array,
  to: ElementType,
  count: number,
  name: string,
): void {
  if (from === to) {
    target.set(source.subarray(0, count * elementBytes[from]));
    return;
  }
  if (from === 'F32' && to === 'BF16') {
    bfloatFromBits(new Uint32Array(source.buffer, source.byteOffset, count), u16(target, count));
    return;
  }
  if (from === 'BF16' && to === 'F32') {
    const halves = u16(source, count);
    const bits = new Uint32Array(target.buffer, target.byteOffset, count);
    for (let i = 0; i < count; i++) bits[i] = (halves[i] as number) << 16;
    return;
  }
  // Everything else by way of fp32, which holds every F16 and BF16 exactly.
  const values = toFloats(source, from, count, name);
  if (to === 'F32') new Float32Array(target.buffer, target.byteOffset, count).set(values);
  else if (to === 'BF16') bfloatFromBits(new Uint32Array(values.buffer, values.byteOffset, count), u16(target, count));
  else if (to === 'F16') halvesFrom(values, u16(target, count), name);
  else throw new Error(`no conversion from ${from} to ${to}`);
}

const u16 = (bytes: Uint8Array, count: number) => new Uint16Array(bytes.buffer, bytes.byteOffset, count);

function bfloatFromBits(bits: Uint32Array, target: Uint16Array): void {
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i] as number;
    // Rounding a NaN could carry into infinity: its highest bit of the fraction is set instead.
    if ((value & 0x7fffffff) > 0x7f800000) target[i] = (value >>> 16) | 0x40;
    else target[i] = (value + 0x7fff + ((value >>> 16) & 1)) >>> 16;
  }
}

function toFloats(source: Uint8Array, from: ElementType, count: number, name: string): Float32Array {
  if (from === 'F32') return new Float32Array(source.buffer, source.byteOffset, count);
  if (from === 'F64') return floatsOfDoubles(new Float64Array(source.buffer, source.byteOffset, count), name);
  const values = new Float32Array(count);
  const halves = u16(source, count);
  if (from === 'BF16') {
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < count; i++) bits[i] = (halves[i] as number) << 16;
  } else if (from === 'F16') {
    for (let i = 0; i < count; i++) values[i] = floatOfHalf(halves[i] as number);
  } else throw new Error(`no conversion from ${from}`);
  return values;
}

function floatsOfDoubles(doubles: Float64Array, name: string): Float32Array {
  const values = Float32Array.from(doubles);
  for (const [i, value] of values.entries()) {
    if (!Number.isFinite(value) && Number.isFinite(doubles[i])) {
      throw new PaellaError('ERR_NUMERIC', `${name}: ${doubles[i]} is beyond the range of fp32`);
    }
  }
  return values;
}

function floatOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** IEEE 754 binary32 → binary16 on the bits. */
function halvesFrom(values: Float32Array, target: Uint16Array, name: string): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i] as number;
    const sign = (value >>> 16) & 0x8000;
    const magnitude = value & 0x7fffffff;
    if (magnitude >= 0x38800000 && magnitude < 0x477ff000) {
      // Normal in both: the exponent's bias changes by 112, and 13 bits are rounded off.
      target[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } else if (magnitude < 0x38800000) {
      target[i] = sign | smallHalf(magnitude);
    } else if (magnitude >= 0x7f800000) {
      target[i] = sign | 0x7c00 | (magnitude > 0x7f800000 ? 0x200 : 0);
    } else {
      throw new PaellaError('ERR_NUMERIC', `${name}: ${values[i]} is beyond the range of fp16 (65504)`, {
        remedy: 'bf16 has the range of fp32',
      });
    }
  }
}

/** Below 2^-14: the result is subnormal, a multiple of 2^-24. */
function smallHalf(magnitude: number): number {
  const shift = 126 - (magnitude >>> 23);
  if (shift > 24) return 0;
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const half = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0);
}
