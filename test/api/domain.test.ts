// What a model says that it draws: domain.json, the words outside of it, and the one line of the command line.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { domainOf, unknownWords } from '../../lib/engine/domain.js';
import { inspectModel, Paella } from '../../lib/index.js';
import { packageRoot } from '../../lib/package-root.cjs';
import { rejectsWith, root, temporaryFolder, testModel } from './support/engine.js';
import { paella, program } from './support/process.js';

const good = { about: 'red things', words: ['a', 'red', 'circle', 'circles', '2'], remedy: 'Take another model.' };
const knowing = (...words: string[]) => ({ words });

/** A folder with nothing but the file. */
function folderWith(t: Parameters<typeof temporaryFolder>[0], content: unknown): string {
  const folder = temporaryFolder(t);
  const isRaw = typeof content === 'string' || Buffer.isBuffer(content);
  writeFileSync(path.join(folder, 'domain.json'), isRaw ? content : JSON.stringify(content));
  return folder;
}

/** A copy of the model that the tests run with, with another domain, or with none. */
function modelWith(t: Parameters<typeof temporaryFolder>[0], domain: unknown): string {
  const source = testModel.includes(path.sep) ? testModel : path.join(packageRoot, 'models', testModel);
  const folder = path.join(temporaryFolder(t), 'model');
  cpSync(source, folder, { recursive: true });
  const file = path.join(folder, 'domain.json');
  if (domain === undefined) rmSync(file, { force: true });
  else writeFileSync(file, JSON.stringify(domain));
  return folder;
}

t.test('reading', async (t) => {
  t.same(await domainOf(folderWith(t, good)), good);
  t.equal(await domainOf(temporaryFolder(t)), undefined, 'a model without the file');
  t.equal(await domainOf('random:paella-v3'), undefined);
  t.same(await domainOf(folderWith(t, `\ufeff${JSON.stringify(good)}`)), good, 'a byte-order mark');
  t.same(await domainOf(folderWith(t, { ...good, later: 1 })), good, 'keys of later versions are passed over');
  const decomposed = { ...good, about: 'cafe\u0301s', words: ['cafe\u0301', 'हिन्दी'] };
  t.match(await domainOf(folderWith(t, decomposed)), { about: 'caf\u00e9s', words: ['caf\u00e9', 'हिन्दी'] });
  const largest = {
    about: '🙂'.repeat(500),
    words: Array.from({ length: 10_000 }, (_, i) => `w${i}`),
    remedy: 'x',
  };
  t.same(await domainOf(folderWith(t, largest)), largest, 'the limits are within the limits');
});

t.test('malformed files: the file, what was expected and what was found', async (t) => {
  const sentence = 'a sentence of 1 to 500 characters, none of them control characters';
  const word = 'a word of lower-case letters and digits';
  const cases: [what: string, content: unknown, message: string | RegExp][] = [
    ['empty', '', /expected JSON in UTF-8, found Unexpected end of JSON input$/],
    ['not JSON', '{"about": \u001b[2J', /expected JSON in UTF-8, found \P{Cc}+$/u],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'expected JSON in UTF-8, found other bytes'],
    [
      'too large',
      JSON.stringify({ ...good, more: 'x'.repeat(2 ** 18) }),
      /expected at most 262144 bytes, found 2622\d\d$/,
    ],
    ['a list', [], 'expected an object with about, words and remedy, found []'],
    ['null', 'null', 'expected an object with about, words and remedy, found null'],
    ['no about', { ...good, about: undefined }, `about: expected ${sentence}, found undefined`],
    ['about of another type', { ...good, about: 5 }, `about: expected ${sentence}, found 5`],
    ['an empty about', { ...good, about: '' }, `about: expected ${sentence}, found ""`],
    ['a blank about', { ...good, about: '  ' }, `about: expected ${sentence}, found "  "`],
    ['too long an about', { ...good, about: 'x'.repeat(501) }, /about: expected .*, found "x{57}…"$/],
    ['two lines', { ...good, remedy: 'a\nb' }, `remedy: expected ${sentence}, found "a\\nb"`],
    ['an escape sequence', { ...good, remedy: '\u001b[31m' }, `remedy: expected ${sentence}, found "\\u001b[31m"`],
    ['text that is turned around', { ...good, remedy: 'a \u202eb' }, /remedy: expected /],
    ['half a character', '{"about": "\\ud800", "words": ["a"], "remedy": "b"}', /about: expected .*\\ud800/],
    ['no words', { ...good, words: [] }, 'words: expected 1 to 10000 words, found a list of 0'],
    ['words in a text', { ...good, words: 'red' }, 'words: expected 1 to 10000 words, found "red"'],
    [
      'too many words',
      { ...good, words: Array.from({ length: 10_001 }, () => 'a') },
      'words: expected 1 to 10000 words, found a list of 10001',
    ],
    ['a capital', { ...good, words: ['a', 'Red'] }, `words[1]: expected ${word}, found "Red"`],
    ['two words in one', { ...good, words: ['a red'] }, `words[0]: expected ${word}, found "a red"`],
    ['an empty word', { ...good, words: [''] }, `words[0]: expected ${word}, found ""`],
    ['a number', { ...good, words: [2] }, `words[0]: expected ${word}, found 2`],
  ];
  for (const [what, content, message] of cases) {
    await t.test(what, async (t) => {
      const folder = folderWith(t, content);
      const error = await rejectsWith(t, domainOf(folder), 'ERR_MODEL_FORMAT');
      const start = `${path.join(folder, 'domain.json')}: `;
      t.ok(error.message.startsWith(start), error.message);
      t.match(error.message.slice(start.length), message);
      t.equal(error.remedy, 'mend the file, or remove it: a model needs none');
    });
  }
  const folder = temporaryFolder(t);
  mkdirSync(path.join(folder, 'domain.json'));
  await rejectsWith(t, domainOf(folder), 'ERR_MODEL_FORMAT', /domain\.json: expected a file, found something else$/);
});

t.test('unknownWords', async (t) => {
  const cases: [prompt: string, words: string[], unknown: string[]][] = [
    ['', ['a'], []],
    [' \n,.!? 🙂', ['a'], []],
    ['a Red CIRCLE, red!', ['a', 'red', 'circle'], []],
    ['a portrait of Einstein', ['a', 'of'], ['portrait', 'einstein']],
    ['dog cat Dog dog-cat', ['a'], ['dog', 'cat']],
    ['circles', ['circle'], ['circles']],
    ["2 dogs and the dog's_tail2", ['2', 'and', 'the', 's'], ['dogs', 'dog', 'tail2']],
    ['Cafe\u0301 CAF\u00c9', ['caf\u00e9'], []],
    ['красный КРУГ, 赤い円', ['красный', 'круг'], ['赤い円']],
    ['हिन्दी, rot', ['हिन्दी'], ['rot']],
    ['constructor __proto__', ['a'], ['constructor', 'proto']],
    ['\ud800red', ['red'], []],
  ];
  for (const [prompt, words, unknown] of cases)
    t.same(unknownWords(knowing(...words), prompt), unknown, JSON.stringify(prompt));
});

t.test('the bundled model', async (t) => {
  const { domain } = await inspectModel('tiny');
  t.match(domain?.about, /^small illustrated scenes .*[^.]$/);
  t.match(domain?.remedy, /`paella pull`.*`paella convert`.*docs\/checkpoints\.md/);
  if (!domain) return;
  t.same(unknownWords(domain, 'Please draw the red circle above a blue square, with two stars.'), []);
  t.same(unknownWords(domain, 'a portrait of Einstein'), ['portrait', 'einstein']);
  const heldOut = JSON.parse(readFileSync(path.join(root, 'scripts/train/heldout.json'), 'utf8')) as {
    captions: { caption: string }[];
  };
  t.ok(heldOut.captions.length > 100);
  for (const { caption } of heldOut.captions) {
    const unknown = unknownWords(domain, caption);
    if (unknown.length > 0) t.fail(`${caption}: ${unknown.join(', ')}`);
  }
});

t.test('in a program: a description, and no warning', async (t) => {
  const warnings: string[] = [];
  const engine = await Paella.load({
    model: modelWith(t, good),
    backend: 'cpu',
    logger: { warn: (message) => warnings.push(message) },
  });
  t.teardown(() => engine.dispose());
  t.same(engine.model.domain, good);
  t.ok(Object.isFrozen(engine.model.domain) && Object.isFrozen(engine.model.domain?.words));
  engine.on('warning', ({ message }) => warnings.push(message));
  await engine.generate({ prompt: 'a portrait', steps: 1 });
  t.same(warnings, []);
});

t.test('a malformed file: neither loaded nor inspected', async (t) => {
  const model = modelWith(t, { ...good, words: ['Red'] });
  const message = /model.domain\.json: words\[0\]: expected a word of lower-case letters and digits, found "Red"$/;
  await rejectsWith(t, Paella.load({ model, backend: 'cpu' }), 'ERR_MODEL_FORMAT', message);
  await rejectsWith(t, inspectModel(model), 'ERR_MODEL_FORMAT', message);
  const outcome = await paella(['a', '--model', model], { cwd: temporaryFolder(t) });
  t.match(outcome, {
    code: 1,
    stdout: '',
    stderr: /^paella: .*domain\.json: words\[0\]: expected .*\n {8}mend the file/,
  });
});

t.test('the command line', async (t) => {
  const cwd = temporaryFolder(t);
  const model = modelWith(t, good);
  const draw = (...args: string[]) => paella([...args, '--backend', 'cpu', '--steps', '1'], { cwd });
  const note =
    /^paella: note: ".+" draws only red things; it does not know: portrait, einstein\. Take another model\.\n$/;

  const unknown = await draw('a', 'portrait', 'Einstein', '--model', model);
  t.equal(unknown.code, 0, unknown.stderr);
  t.match(unknown.stderr, note);
  const json = await draw('a portrait, Einstein', '--model', model, '--json', '-n', '2');
  t.match(json.stderr, note, 'once, whatever the number of images');
  t.equal(JSON.parse(json.stdout).images.length, 2, 'stdout is one document');

  const long = await draw('b c d e f g h', '--model', model);
  t.match(long.stderr, /does not know: b, c, d, e, f and 2 more\. /);
  const word = await draw('x'.repeat(300), '--model', model);
  t.match(word.stderr, /does not know: x{39}…\. /);

  const silent = async (...args: string[]) => t.match(await draw(...args), { code: 0, stderr: '' }, args.join(' '));
  await silent('A red circle', '--model', model);
  await silent('', '--model', model);
  await silent('a circle', '--negative-prompt', 'portrait', '--guidance-scale', '2', '--model', model);
  await silent('a portrait', '--model', modelWith(t, undefined));
  const wrong = await draw('a portrait', '--model', model, '--width', '1');
  t.match(wrong, { code: 2, stderr: /^paella: --width: expected .*\n$/ }, 'no picture, nothing to explain');

  t.match((await paella(['inspect', model])).stdout, /^.*, family v3, in bf16\ndraws red things\n\nnetwork /);
  t.same(JSON.parse((await paella(['inspect', model, '--json'])).stdout).domain, good);
});

t.test('once in a process', async (t) => {
  const { stdout } = await program(`
    const { noteOnce } = await import(${JSON.stringify(path.join(root, 'dist/esm/cli/unknown-words.js'))});
    const model = { name: 'm', domain: ${JSON.stringify(good)} };
    const notes = ['a circle', 'a dog', 'a dog', 'a cat'].map((prompt) => noteOnce(model, prompt));
    console.log(JSON.stringify(notes.map((note) => note?.includes('it does not know: dog') ?? null)));
  `);
  t.equal(stdout, '[null,true,null,null]\n');
});
