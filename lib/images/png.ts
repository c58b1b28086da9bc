/** Text in PNG files. sharp reads it but does not write it. */
import { crc32 } from 'node:zlib';

const SIGNATURE_LENGTH = 8;
/** Length, type and CRC around a chunk's data. */
const CHUNK_OVERHEAD = 12;

/** Inserts iTXt chunks (UTF-8, uncompressed) behind the header chunk of a PNG. */
export function insertPngText(png: Buffer, texts: Readonly<Record<string, string>>): Buffer {
  // IHDR is always first and 13 bytes long.
  const at = SIGNATURE_LENGTH + CHUNK_OVERHEAD + 13;
  const chunks = Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text));
  return Buffer.concat([png.subarray(0, at), ...chunks, png.subarray(at)]);
}

function textChunk(keyword: string, text: string): Buffer {
  // Keyword, end, compression flag and method, language tag, end, translated keyword, end, text.
  const data = Buffer.concat([Buffer.from(keyword, 'latin1'), Buffer.alloc(5), Buffer.from(text, 'utf8')]);
  const chunk = Buffer.alloc(data.length + CHUNK_OVERHEAD);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write('iTXt', 4, 'latin1');
  data.copy(chunk, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length);
  return chunk;
}
