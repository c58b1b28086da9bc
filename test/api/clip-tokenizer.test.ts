// Expected ids are made by open_clip: scripts/reference/clip_tokens.py, which says how the list of merges is kept short.
import { createHash } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { readClipMerges } from '../../lib/text/clip-merges.js';
import { ClipTokenizer, clipMergeCount } from '../../lib/text/clip-tokenizer.js';
import { rejectsWith, root, temporaryFolder } from './support/engine.js';

interface Golden {
  merges_sha256: string;
  merges: [rank: number, merge: string][];
  cases: [text: string, ids: number[]][];
}

const golden: Golden = JSON.parse(
  readFileSync(process.env.PAELLA_CLIP_TOKENS ?? path.join(root, 'test/golden/clip-tokenizer/tokens.json'), 'utf8'),
);
const START = 49406;
const END = 49407;
const merges = wholeList(golden.merges, clipMergeCount(49408));
const tokenizer = new ClipTokenizer(merges);
const encode = (text: string) => Array.from(tokenizer.encode(text));

/** The ranks that the file leaves out are merges of bytes that UTF-8 does not have: words of them, shortest first. */
function wholeList(used: Golden['merges'], count: number): string[] {
  const bytes = [0xc0, 0xc1, ...Array.from({ length: 11 }, (_, i) => 0xf5 + i)].map((byte) =>
    String.fromCharCode(byte),
  );
  const list: string[] = [];
  for (const [rank, merge] of used) list[rank] = merge;
  let parents = bytes;
  let words: string[] = [];
  let next = 0;
  for (let rank = 0; rank < count; rank++) {
    if (list[rank] !== undefined) continue;
    if (next === parents.length * bytes.length) [parents, words, next] = [words, [], 0];
    const parent = parents[Math.floor(next / bytes.length)] ?? '';
    const last = bytes[next++ % bytes.length] ?? '';
    words.push(parent + last);
    list[rank] = `${parent} ${last}`;
  }
  return list;
}

t.test('as open_clip, text by text', async (t) => {
  const sum = createHash('sha256').update(merges.join('\n')).digest('hex');
  t.equal(sum, golden.merges_sha256, 'the list of merges that open_clip gave the same ids with');
  t.ok(golden.cases.length >= 400, `${golden.cases.length} texts`);
  let wrong = 0;
  for (const [text, ids] of golden.cases) {
    const found = encode(text);
    if (found.join() === ids.join()) continue;
    wrong++;
    if (wrong <= 20) t.same(found, ids, JSON.stringify(text));
  }
  t.equal(wrong, 0, 'texts with other ids');
});

t.test('at most 77 ids, the last of them the end', async (t) => {
  t.same(encode(''), [START, END]);
  t.equal(encode(' 1'.repeat(74)).length, 76);
  t.equal(encode(' 1'.repeat(75)).length, 77);
  const cut = encode(' 1'.repeat(76));
  t.equal(cut.length, 77);
  t.equal(cut[76], END);
  t.same(cut, encode(' 1'.repeat(75)));
  t.same(Array.from(new ClipTokenizer(merges, { contextLength: 4 }).encode('1 2 3')), [
    ...encode('1 2').slice(0, 3),
    END,
  ]);
  t.same(Array.from(new ClipTokenizer(merges, { contextLength: 2 }).encode('1 2 3')), [START, END]);
});

t.test('a word as long as a book', async (t) => {
  const letters = Array.from({ length: 300_000 }, (_, i) => 'etaoinshrdlu'[(i * i + (i >> 3)) % 12]).join('');
  const ids = encode(letters);
  t.equal(ids.length, 77);
  // Merges do not look far, so that the beginning is the same for a short word with the same beginning.
  t.same(ids.slice(0, 60), encode(letters.slice(0, 2000)).slice(0, 60));
});

t.test('a line over a million characters is read in parts', async (t) => {
  // ftfy knows names of entities in capitals, which HTML does not, unless one is cut in two.
  const bytes = new ClipTokenizer([]);
  const encoded = (spaces: number) => Array.from(bytes.encode(`${' '.repeat(spaces)}&EACUTE; a`));
  t.same(encoded(999_992), Array.from(bytes.encode('é a')));
  t.same(encoded(999_993), Array.from(bytes.encode('& eacute ; a')));
});

t.test('the known difference: entities nested deeper than 64 levels, which would take quadratic time', async (t) => {
  const nested = (levels: number) => new ClipTokenizer([]).encode(`&${'amp;'.repeat(levels)} x`);
  const plain = new ClipTokenizer([]).encode('& x');
  // The two levels that are unescaped at the end come on top.
  t.same(nested(66), plain);
  t.not(nested(67).length, plain.length);
  t.equal(nested(250_000).length, 77);
});

t.test('half a surrogate pair is U+FFFD', async (t) => {
  t.same(encode('a\uD83Db'), encode('a\uFFFDb'));
  t.same(encode('\uDE00'), encode('\uFFFD'));
});

t.test('without merges every byte is a token', async (t) => {
  const random = new ClipTokenizer([]);
  // Visible characters come first in the alphabet, from ! on; the last byte of a word has its own 256 ids.
  t.same(Array.from(random.encode('Ab !')), [START, 64, 65 + 256, 0 + 256, END]);
  t.same(Array.from(random.encode('é')), [START, 127, 102 + 256, END]);
  const small = new ClipTokenizer([], { vocabularySize: 600 });
  t.same(Array.from(small.encode('a')), [598, 64 + 256, 599]);
  t.ok(golden.cases.every(([text]) => random.encode(text).every((id) => id < 512 || id >= START)));
});

t.test('merges that do not fit', async (t) => {
  const build = (list: string[], vocabularySize: number, contextLength?: number) => () =>
    new ClipTokenizer(list, { vocabularySize, contextLength });
  const format = (message: string) => ({ code: 'ERR_MODEL_FORMAT', message });
  t.throws(build(['a b'], 49408), format('clip_text: merges: expected 48894 for a vocabulary of 49408, got 1'));
  t.throws(build([], 513), format('clip_text: vocab_size: expected at least 514, got 513'));
  t.throws(build([], 514, 1), format('clip_text: context_length: expected at least 2, got 1'));
  const two = 'two symbols that are bytes or results of earlier merges, and a space between them';
  t.throws(build(['a b', 'abc d'], 516), format(`merges: merge 2: expected ${two}, got "abc d"`));
  t.throws(build(['ab'], 515), format(`merges: merge 1: expected ${two}, got "ab"`));
  t.throws(build(['a b c'], 515), format(`merges: merge 1: expected ${two}, got "a b c"`));
  t.throws(
    build(['a b', 'a b'], 516),
    format('merges: merge 2: expected a result that no earlier merge has, got "a b"'),
  );
  t.same(Array.from(build(['a b</w>', 'x ab</w>'], 516)().encode('xab ab')), [514, 513, 512, 515]);
});

t.test('files of merges', async (t) => {
  const folder = temporaryFolder(t);
  const write = (name: string, content: string | Buffer) => {
    const file = path.join(folder, name);
    writeFileSync(file, content);
    return file;
  };
  const lines = ['#version: 0.2', ...merges];
  const text = `${lines.join('\n')}\n`;
  t.same(await readClipMerges(write('merges.txt', text)), merges, "transformers' file");
  t.same(await readClipMerges(write('no-end.txt', lines.join('\n'))), merges, 'without a line break at the end');
  t.same(
    await readClipMerges(write('windows.txt', text.replaceAll('\n', '\r\n'))),
    merges,
    'with line breaks of Windows',
  );
  const longer = `"bpe_simple_vocab_16e6.txt${text}more merges\nthan are used\n`;
  t.same(await readClipMerges(write('bpe.txt.gz', gzipSync(longer))), merges, "open_clip's file");
  t.same(await readClipMerges(write('small.txt', '#version: 0.2\na b\nb c\n'), 515), ['a b'], 'of another vocabulary');

  const missing = path.join(folder, 'missing.txt');
  await rejectsWith(
    t,
    readClipMerges(missing),
    'ERR_MODEL_NOT_FOUND',
    `${missing}: expected the merges of CLIP's tokenizer, got no such file`,
  );
  await rejectsWith(t, readClipMerges(folder), 'ERR_IO', `${folder}: cannot be read: it is a folder`);
  const damaged = async (name: string, content: string | Buffer, message: string | RegExp) => {
    const file = write(name, content);
    const wanted = typeof message === 'string' ? `${file}: ${message}` : message;
    await rejectsWith(t, readClipMerges(file), 'ERR_MODEL_FORMAT', wanted);
  };
  const version = 'expected "#version: …" in the first line, got';
  await damaged('empty.txt', '', `${version} ""`);
  await damaged('vocab.json', '{"!": 0}', `${version} "{\\"!\\": 0}"`);
  await damaged('bytes.txt', Buffer.from([0xff, 0xfe, 0x41]), 'expected text in UTF-8, got other bytes');
  const count = 'expected 48894 merges for a vocabulary of 49408, got';
  await damaged('cut.txt', lines.slice(0, 1001).join('\n'), `${count} 1000`);
  await damaged('hole.txt', lines.with(501, '').join('\n'), `${count} 500`);
  await damaged(
    'cut.gz',
    gzipSync(text).subarray(0, 5000),
    /cut\.gz: expected a whole gzip file, got unexpected end of file$/,
  );
  const bomb = gzipSync(Buffer.alloc(65 * 2 ** 20), { level: 1 });
  await damaged('bomb.gz', bomb, /bomb\.gz: expected a whole gzip file, got .*larger than/);
  const large = write('large.txt', '');
  truncateSync(large, 2 ** 26 + 1);
  await rejectsWith(
    t,
    readClipMerges(large),
    'ERR_MODEL_FORMAT',
    `${large}: expected at most 67108864 bytes, got 67108865`,
  );
});
