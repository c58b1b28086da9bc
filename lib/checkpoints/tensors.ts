/** What all readers of checkpoints give: named tensors that say where their values lie. */
import type { SourceFile } from './source-file.js';

/** Element types by their names in safetensors. */
export const elementBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type ElementType = keyof typeof elementBytes;

/** As many as the native `Shape` holds. */
export const MAX_RANK = 5;

export interface SourceTensor {
  /** As it is in the file. */
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  /** In elements; as in PyTorch, not negative. */
  readonly strides: readonly number[];
  readonly file: SourceFile;
  /** Bytes from the start of the file to the first element. */
  readonly offset: number;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, side) => product * side, 1);
}

/** Of a row-major tensor without gaps. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i] ?? 1;
  }
  return strides;
}

/** A side of one element may have any stride. */
export function isContiguous({ shape, strides }: Pick<SourceTensor, 'shape' | 'strides'>): boolean {
  const wanted = contiguousStrides(shape);
  return elementCount(shape) === 0 || shape.every((side, i) => side === 1 || strides[i] === wanted[i]);
}

/** Elements from the first to the last, both counted; 0 if there are none. */
export function spanOf(shape: readonly number[], strides: readonly number[]): number {
  if (elementCount(shape) === 0) return 0;
  return 1 + shape.reduce((last, side, i) => last + (side - 1) * (strides[i] ?? 0), 0);
}

/** '[640, 256, 1, 1]' */
export const shapeText = (shape: readonly number[]): string => `[${shape.join(', ')}]`;
