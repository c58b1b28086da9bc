/** Stored entries of a zip archive, by name: where their bytes lie in the file. */
import type { Readable } from 'node:stream';
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from 'yauzl';
import { badCheckpoint, type SourceFile } from './source-file.js';

export interface StoredEntry {
  readonly name: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** The v3 checkpoint has 846; training checkpoints some thousand. */
const MAX_ENTRIES = 100_000;

/** The first bytes of every zip archive that holds something. */
export const ZIP_SIGNATURE = 0x04034b50;

/** Reads for yauzl, which would pass places beyond any file on to `fs.read()`, and that throws where nobody catches. */
class Reader extends RandomAccessReader {
  readonly #file: SourceFile;

  constructor(file: SourceFile) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    if (!(position >= 0 && length >= 0 && position + length <= this.#file.size)) {
      setImmediate(callback, new Error(`the archive points beyond the end of the file (byte ${position})`));
      return;
    }
    this.#file.read(buffer.subarray(offset, offset + length), position).then(() => callback(null), callback);
  }

  override _readStreamForRange(): Readable {
    throw new Error('entries are not read through yauzl');
  }
}

/** Throws `ERR_MODEL_FORMAT` for what is damaged, compressed, encrypted, overlapping or has unsafe names. */
export async function readStoredEntries(file: SourceFile): Promise<Map<string, StoredEntry>> {
  const entries = new Map<string, StoredEntry>();
  let archive: ZipFile | undefined;
  try {
    const options = { lazyEntries: true, autoClose: false, strictFileNames: true };
    archive = await fromRandomAccessReaderPromise(new Reader(file), file.size, options);
    if (archive.entryCount > MAX_ENTRIES) {
      throw badCheckpoint(file.path, `expected at most ${MAX_ENTRIES} zip entries, found ${archive.entryCount}`);
    }
    for await (const entry of archive.eachEntry()) {
      if (entry.fileName.endsWith('/')) continue;
      const stored = await locate(archive, entry, file);
      if (entries.has(stored.name)) throw badCheckpoint(file.path, `two zip entries are called ${show(stored.name)}`);
      entries.set(stored.name, stored);
    }
  } catch (error) {
    if (error instanceof Error && error.name === 'PaellaError') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw badCheckpoint(
      file.path,
      `damaged zip archive: ${reason}`,
      'the file may be cut short: download it again',
      error,
    );
  }
  checkOverlaps(entries, file);
  return entries;
}

async function locate(archive: ZipFile, entry: Entry, file: SourceFile): Promise<StoredEntry> {
  const name = entry.fileName;
  if (entry.isEncrypted()) throw badCheckpoint(file.path, `zip entry ${show(name)} is encrypted`);
  if (entry.compressionMethod !== 0) {
    throw badCheckpoint(
      file.path,
      `zip entry ${show(name)} is compressed; PyTorch stores entries uncompressed`,
      'unpack an archive that holds checkpoints and name the files in it',
    );
  }
  const offset = await new Promise<number>((resolve, reject) => {
    archive.readLocalFileHeader(entry, { minimal: true }, (error, header) =>
      error ? reject(error) : resolve(header.fileDataStart),
    );
  });
  const size = entry.uncompressedSize;
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(size) || offset + size > file.size) {
    throw badCheckpoint(file.path, `zip entry ${show(name)} reaches beyond the end of the file`);
  }
  return { name, offset, size };
}

/** Two names for the same bytes mean that somebody made the archive to confuse its readers. */
function checkOverlaps(entries: ReadonlyMap<string, StoredEntry>, file: SourceFile): void {
  const sorted = [...entries.values()].filter(({ size }) => size > 0).sort((a, b) => a.offset - b.offset);
  for (const [i, entry] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next && entry.offset + entry.size > next.offset) {
      throw badCheckpoint(file.path, `zip entries ${show(entry.name)} and ${show(next.name)} overlap`);
    }
  }
}

const show = (name: string): string => JSON.stringify(name.length <= 120 ? name : `${name.slice(0, 120)}…`);
