// Cases made with transformers 5.23's ByT5Tokenizer (truncation to 768).
import t from 'tap';
import { tokenize } from '../../lib/text/byt5-tokenizer.js';

const cases: [text: string, ids: number[]][] = [
  ['', [1]],
  ['a red circle', [100, 35, 117, 104, 103, 35, 102, 108, 117, 102, 111, 104, 1]],
  ['é日本語😀', [198, 172, 233, 154, 168, 233, 159, 175, 235, 173, 161, 243, 162, 155, 131, 1]],
  ['A\n\tB ', [68, 13, 12, 69, 35, 1]],
  [' lead', [35, 111, 104, 100, 103, 1]],
  // The named special tokens swallow white space around them; a closing one is not doubled.
  ['a </s> b', [100, 1, 101, 1]],
  ['a</s>', [100, 1]],
  ['</s>', [1]],
  ['a  </s></s>  b', [100, 1, 1, 101, 1]],
  [' <pad> x', [0, 123, 1]],
  ['<unk>', [2, 1]],
  ['a </s> <pad> b', [100, 1, 0, 101, 1]],
  ['nbsp\u00a0</s>\u2003x', [113, 101, 118, 115, 1, 123, 1]],
  ['</S>', [63, 50, 86, 65, 1]],
  // The sentinels do not, and there are 125 of them.
  ['x<extra_id_0> y', [123, 259, 35, 124, 1]],
  ['<extra_id_12> </s>  <extra_id_99>', [271, 1, 358, 1]],
  ['<extra_id_124><extra_id_125>', [383, 63, 104, 123, 119, 117, 100, 98, 108, 103, 98, 52, 53, 56, 65, 1]],
  ['<extra_id_07>', [63, 104, 123, 119, 117, 100, 98, 108, 103, 98, 51, 58, 65, 1]],
];

t.test('as the reference', async (t) => {
  for (const [text, ids] of cases) t.same(Array.from(tokenize(text).ids), ids, JSON.stringify(text));
});

t.test('cut after 767 bytes, in the middle of a character if need be', async (t) => {
  const letters = tokenize('x'.repeat(800));
  t.equal(letters.ids.length, 768);
  t.equal(letters.ids[767], 1);
  t.equal(letters.length, 800);
  const accents = tokenize('é'.repeat(400));
  t.same(Array.from(accents.ids.slice(-3)), [172, 198, 1]);
  t.equal(tokenize(`${'x'.repeat(767)}</s>`).ids.length, 768);
  t.equal(tokenize(`${'x'.repeat(766)}</s>y`).ids.length, 767);
});

t.test('half a surrogate pair is U+FFFD', async (t) => {
  const replacement = [0xef + 3, 0xbf + 3, 0xbd + 3];
  t.same(Array.from(tokenize('a\uD83Db').ids), [100, ...replacement, 101, 1]);
  t.same(Array.from(tokenize('\uDE00').ids), [...replacement, 1]);
});
