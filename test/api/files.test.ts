// Images in files: formats, metadata, and files that are whole or not there.
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import t from 'tap';
import { type GeneratedImage, type ImageFormat, readMetadata } from '../../lib/index.js';
import { engineFor, rejectsWith, sameNumbers, temporaryFolder } from './support/engine.js';

const formats: ImageFormat[] = ['png', 'jpeg', 'webp', 'avif'];
const prompt = 'a "red" circle <above> & a 青い square 🟥, seed: 5\nnew line\u0007';

async function makeImage(t: Parameters<typeof engineFor>[0], options = {}): Promise<GeneratedImage> {
  const engine = await engineFor(t);
  const [image] = await engine.generate({ prompt, negativePrompt: 'blurry', steps: 2, seed: 7, ...options });
  if (!image) throw new Error('no image');
  return image;
}

t.test('every format, with its parameters', async (t) => {
  const image = await makeImage(t);
  for (const format of formats) {
    const bytes = await image.encode(format);
    const info = await sharp(bytes).metadata();
    t.equal(info.format, format === 'avif' ? 'heif' : format);
    t.same([info.width, info.height, info.channels], [image.width, image.height, 3], format);
    const metadata = await readMetadata(bytes);
    t.same(metadata?.parameters, image.parameters, `${format}: parameters come back as they went in`);
    t.match(metadata, { software: /^paella-native \d/, model: String, backend: 'cpu', precision: /^(fp32|bf16)$/ });
    t.equal(
      await readMetadata(await image.encode(format, { metadata: false })),
      null,
      `${format}: none when not wanted`,
    );
  }
  t.equal((await sharp(await image.encode()).metadata()).format, 'png', 'PNG is the default');
});

t.test('PNG is exact, and other tools find the text', async (t) => {
  const image = await makeImage(t, { guidanceScale: [2, 4] });
  const png = await image.encode('png');
  const { data } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  sameNumbers(t, data, image.data, 'pixels of the PNG');
  const { comments } = await sharp(png).metadata();
  const text = comments?.find(({ keyword }) => keyword.endsWith('parameters'))?.text ?? '';
  const lines = text.split('\n');
  t.equal(lines.slice(0, 2).join('\n'), prompt);
  t.equal(lines[2], 'Negative prompt: blurry');
  t.match(
    lines[3],
    new RegExp(
      `^Steps: 2, Sampler: multinomial, CFG scale: 2 to 4, Seed: 7, Size: ${image.width}x${image.height}, Model: `,
    ),
  );
});

t.test('what has no text form is named', async (t) => {
  const engine = await engineFor(t);
  const condition = await engine.encodeText('a');
  const [image] = await engine.generate({ condition, steps: 1, seed: 1 });
  const metadata = await readMetadata((await image?.encode()) ?? Buffer.of());
  t.same(metadata?.omitted, ['condition']);
  t.equal(metadata?.parameters.condition, undefined);
});

t.test('images without parameters', async (t) => {
  const plain = await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  t.equal(await readMetadata(plain), null);
  await rejectsWith(t, readMetadata(Buffer.from('nonsense')), 'ERR_IO', /^image: cannot be decoded as an image: /);
  await rejectsWith(t, readMetadata('/no/such.png'), 'ERR_IO', '/no/such.png: cannot be read: no such file or folder');
  await rejectsWith(t, readMetadata(5 as never), 'ERR_INVALID_OPTION', /^image: expected /);
});

t.test('options of encode', async (t) => {
  const image = await makeImage(t);
  await rejectsWith(
    t,
    image.encode('gif' as never),
    'ERR_INVALID_OPTION',
    'format: expected one of png, jpeg, webp, avif, got "gif"',
  );
  await rejectsWith(
    t,
    image.encode('jpeg', { quality: 0 }),
    'ERR_INVALID_OPTION',
    'quality: expected an integer between 1 and 100, got 0',
  );
  await rejectsWith(
    t,
    image.encode('png', { metadata: 1 as never }),
    'ERR_INVALID_OPTION',
    'metadata: expected true or false, got 1',
  );
  await rejectsWith(
    t,
    image.encode('png', { qualty: 1 } as never),
    'ERR_INVALID_OPTION',
    'qualty: unknown option, did you mean quality?',
  );
  const small = await image.encode('jpeg', { quality: 5 });
  const large = await image.encode('jpeg', { quality: 95 });
  t.ok(small.length < large.length);
  const exact = await sharp(await image.encode('webp', { lossless: true }))
    .removeAlpha()
    .raw()
    .toBuffer();
  sameNumbers(t, exact, image.data, 'lossless WebP');
});

t.test('save', async (t) => {
  const image = await makeImage(t);
  const folder = temporaryFolder(t);
  for (const name of ['a.png', 'b.jpg', 'c.JPEG', 'd.webp', 'e.avif']) {
    const file = path.join(folder, name);
    await image.save(file);
    t.same((await readMetadata(pathToFileURL(file)))?.parameters, image.parameters, name);
  }
  const longest = path.join(folder, `${'x'.repeat(251)}.png`);
  await image.save(longest);
  rmSync(longest);
  writeFileSync(path.join(folder, 'a.png'), 'old');
  await image.save(path.join(folder, 'a.png'), { metadata: false });
  t.equal(await readMetadata(path.join(folder, 'a.png')), null, 'replaced');
  t.same(readdirSync(folder).sort(), ['a.png', 'b.jpg', 'c.JPEG', 'd.webp', 'e.avif'], 'nothing else is left');
});

t.test('save that fails leaves nothing', async (t) => {
  const image = await makeImage(t);
  const folder = temporaryFolder(t);
  const bad = (name: string) => path.join(folder, name);
  await rejectsWith(
    t,
    image.save(bad('a.gif')),
    'ERR_INVALID_OPTION',
    /^path: expected a name ending in \.png, \.jpg, \.jpeg, \.webp or \.avif, got /,
  );
  await rejectsWith(t, image.save(bad('a')), 'ERR_INVALID_OPTION', /^path: expected a name ending in /);
  await rejectsWith(t, image.save('' as never), 'ERR_INVALID_OPTION', 'path: expected the name of a file, got ""');
  await rejectsWith(
    t,
    image.save(bad('none/a.png')),
    'ERR_IO',
    `${bad('none/a.png')}: cannot be written: no such file or folder`,
  );
  writeFileSync(bad('file'), 'x');
  await rejectsWith(
    t,
    image.save(bad('file/a.png')),
    'ERR_IO',
    `${bad('file/a.png')}: cannot be written: a part of the path is not a folder`,
  );
  mkdirSync(bad('folder.png'));
  await rejectsWith(t, image.save(bad('folder.png')), 'ERR_IO', /folder\.png: cannot be written: it is a folder/);
  t.same(readdirSync(folder).sort(), ['file', 'folder.png']);
  t.equal(readFileSync(bad('file'), 'utf8'), 'x');
  if (process.getuid?.() === 0) t.comment('not tested as root: a folder that may not be written to');
  else {
    mkdirSync(bad('locked'), { mode: 0o500 });
    await rejectsWith(t, image.save(bad('locked/a.png')), 'ERR_IO', /permission denied/);
    chmodSync(bad('locked'), 0o700);
  }
});
