/**
 * A tar archive that grows one whole entry at a time, so that a killed writer leaves at most one entry cut short, which
 * the next one takes away. POSIX ustar (IEEE Std 1003.1, pax): headers of 512 bytes, contents padded to 512.
 */
import { type FileHandle, open } from 'node:fs/promises';

const block = 512;
const ownerReadsAll = '0000644';

export class TarWriter {
  readonly #handle: FileHandle;
  /** Names of the entries, in order. */
  readonly entries: string[];
  #end: number;
  /** Behind the end there may be empty blocks, or an entry that a killed writer cut short. */
  #clean = false;

  private constructor(handle: FileHandle, entries: string[], end: number) {
    this.#handle = handle;
    this.entries = entries;
    this.#end = end;
  }

  /**
   * Opens an archive that this class wrote, finished or not, or makes one. Throws for anything else, and for archives whose
   * first entry has another name. Nothing of what is there changes before the first write.
   */
  static async open(file: string, first: string): Promise<TarWriter> {
    const handle = await open(file, 'a+').then(async (made) => {
      await made.close();
      return open(file, 'r+');
    });
    try {
      const { entries, end } = await scan(handle, file, first);
      return new TarWriter(handle, entries, end);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** One write: the entry is there as a whole, or is cut short at the end of the file. */
  async add(name: string, contents: Uint8Array): Promise<void> {
    const padded = Buffer.alloc(block + Math.ceil(contents.length / block) * block);
    header(padded, name, contents.length);
    padded.set(contents, block);
    await this.#write(padded);
    this.entries.push(name);
  }

  async read(name: string): Promise<Buffer | undefined> {
    for (let at = 0; at < this.#end; ) {
      const head = await readBlock(this.#handle, at);
      const { name: found, size } = parse(head);
      if (found === name) {
        const contents = Buffer.alloc(size);
        await this.#handle.read(contents, 0, size, at + block);
        return contents;
      }
      at += block + Math.ceil(size / block) * block;
    }
    return undefined;
  }

  /** The two empty blocks with which an archive ends. */
  async finish(): Promise<void> {
    await this.#write(Buffer.alloc(2 * block));
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #write(bytes: Buffer): Promise<void> {
    if (!this.#clean) await this.#handle.truncate(this.#end);
    this.#clean = true;
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, this.#end + done);
      done += bytesWritten;
    }
    this.#end += bytes.length;
  }
}

async function readBlock(handle: FileHandle, at: number): Promise<Buffer> {
  const bytes = Buffer.alloc(block);
  const { bytesRead } = await handle.read(bytes, 0, block, at);
  return bytes.subarray(0, bytesRead);
}

/** Whole entries, and where the last of them ends. */
async function scan(handle: FileHandle, file: string, first: string): Promise<{ entries: string[]; end: number }> {
  const { size: total } = await handle.stat();
  const foreign = (at: number) =>
    new Error(`${file}: expected a tar archive of this program, found something else at byte ${at}`);
  const entries: string[] = [];
  for (let at = 0; ; ) {
    const head = await readBlock(handle, at);
    // The end of the archive, or what a killed writer left.
    if (head.length < block || head.every((byte) => byte === 0)) {
      if (at === 0 && total > 0) throw foreign(0);
      return { entries, end: at };
    }
    const { name, size, sum } = parse(head);
    if (head.toString('latin1', 257, 262) !== 'ustar' || sum !== checksum(head) || !(size >= 0)) throw foreign(at);
    if (at === 0 && name !== first) throw foreign(0);
    const end = at + block + Math.ceil(size / block) * block;
    if (end > total) return { entries, end: at };
    entries.push(name);
    at = end;
  }
}

function header(to: Buffer, name: string, size: number): void {
  const put = (text: string, at: number) => to.write(text, at, 'latin1');
  put(name, 0);
  put(`${ownerReadsAll}\0`, 100);
  put('0000000\0', 108);
  put('0000000\0', 116);
  put(`${size.toString(8).padStart(11, '0')}\0`, 124);
  // The same archive for the same images: no time of writing.
  put(`${'0'.repeat(11)}\0`, 136);
  put('0', 156);
  put('ustar\x0000', 257);
  put(`${checksum(to).toString(8).padStart(6, '0')}\0 `, 148);
}

function parse(head: Buffer): { name: string; size: number; sum: number } {
  const text = (at: number, length: number) => head.toString('latin1', at, at + length).split('\0')[0] ?? '';
  return { name: text(0, 100), size: Number.parseInt(text(124, 12), 8), sum: Number.parseInt(text(148, 8), 8) };
}

/** Of a header, its own field read as blanks. */
function checksum(head: Buffer): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < block; i++) if (i < 148 || i >= 156) sum += head[i] ?? 0;
  return sum;
}
