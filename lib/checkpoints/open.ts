/** Opens a checkpoint of any layout that is read here, by its first bytes and not by its name. */
import { looksLikeSafetensors, readSafetensors } from './safetensors.js';
import { badCheckpoint, SourceFile } from './source-file.js';
import { type StateDict, stateDictOf, withoutPrefix } from './state-dict.js';
import { readTorchLegacy, readTorchZip } from './torch.js';
import { ZIP_SIGNATURE } from './zip.js';

export interface OpenCheckpoint extends StateDict {
  readonly file: SourceFile;
  readonly format: 'torch zip' | 'torch legacy' | 'safetensors';
}

/**
 * Reads names, shapes and places; no values. The caller closes `file`.
 * Throws `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT`, `ERR_IO`.
 */
export async function openCheckpoint(path: string): Promise<OpenCheckpoint> {
  const file = await SourceFile.open(path);
  try {
    return await read(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function read(file: SourceFile): Promise<OpenCheckpoint> {
  const start = await file.bytes(0, Math.min(512, file.size));
  if (start.length >= 4 && start.readUInt32LE(0) === ZIP_SIGNATURE) {
    return { file, format: 'torch zip', ...stateDictOf(await readTorchZip(file), file) };
  }
  if (looksLikeSafetensors(start)) {
    const tensors = await readSafetensors(file);
    return {
      file,
      format: 'safetensors',
      tensors: withoutPrefix(new Map(tensors.map((each) => [each.name, each]))),
      wrappers: [],
    };
  }
  // After safetensors, the length of whose header may begin with the same byte.
  if (start[0] === 0x80) return { file, format: 'torch legacy', ...stateDictOf(await readTorchLegacy(file), file) };
  throw unknownFormat(file, start);
}

function unknownFormat(file: SourceFile, start: Buffer): Error {
  const text = start.toString('latin1');
  const expected = 'expected a checkpoint of PyTorch or safetensors';
  if (file.size === 0) return badCheckpoint(file.path, `${expected}, found an empty file`);
  if (text.startsWith('version https://git-lfs')) {
    return badCheckpoint(
      file.path,
      `${expected}, found a pointer of Git LFS`,
      'the repository was cloned without its large files: run `git lfs pull`, or use `paella pull`',
    );
  }
  if (/^\s*<(!doctype|html|\?xml)/i.test(text)) {
    return badCheckpoint(file.path, `${expected}, found a web page`, 'download the file itself');
  }
  if (text.slice(257, 262) === 'ustar') {
    return badCheckpoint(
      file.path,
      `${expected}, found a tar archive`,
      'unpack it, or save the checkpoint again with a PyTorch since 0.2',
    );
  }
  return badCheckpoint(file.path, `${expected}, found something else`);
}
