// The schema of benchmarks: what is a document and what is not, and the same in JSON Schema.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { parseDocument, readDocument } from '../../lib/cli/bench/documents.js';
import { report } from '../../lib/cli/bench/report.js';
import { jsonSchema } from '../../lib/cli/bench/schema.js';
import { rejectsWith, root, temporaryFolder } from '../api/support/engine.js';
import { around, documentOf, rowOf } from './support/rows.js';

t.test('schema.json says what schema.ts says', async (t) => {
  const file = path.join(root, 'lib/cli/bench/schema.json');
  t.same(JSON.parse(readFileSync(file, 'utf8')), jsonSchema(), '`npm run bench:schema` writes it anew');
});

t.test('what is written can be read', async (t) => {
  const document = documentOf([rowOf(around(10, 5)), rowOf(around(12, 120), { scenario: 'offline', threads: null })]);
  t.match(document.rows[1]?.ms, { p99: Number }, 'from 100 samples');
  t.notOk('p99' in (document.rows[0]?.ms ?? {}));
  t.same(parseDocument(report(document, 'json'), 'a.json'), document);
  t.same(parseDocument(report(document, 'jsonl'), 'a.jsonl'), document);
  const one = documentOf([rowOf([1])]);
  t.same(parseDocument(report(one, 'jsonl'), 'a.jsonl'), one, 'a single line');
  t.equal(
    report(document, 'json')
      .split('\n')
      .filter((line) => line.includes('"samples"')).length,
    2,
    'samples in a line',
  );
  const whole = documentOf([rowOf([1])], { command: 'paella bench -o a.json' });
  t.same(parseDocument(report(whole, 'json'), 'a.json'), whole, 'the command of the whole');
  t.same(parseDocument(report(whole, 'jsonl'), 'a.jsonl'), documentOf(whole.rows), 'a line is a part of it');
  const interrupted = documentOf([], { complete: false });
  t.same(parseDocument(report(interrupted, 'json'), 'a.json'), interrupted, 'without rows');
});

t.test('what is no document says so', async (t) => {
  const document = documentOf([rowOf(around(10, 5))]);
  const [row] = document.rows;
  if (!row) throw new Error('no row');
  const cases: [text: string, message: RegExp][] = [
    ['', /^x\.json: expected a document of `paella bench`, got an empty file$/],
    ['nonsense', /^x\.json, line 1: expected a document .* got something that is not JSON$/],
    ['[]', /^x\.json: expected the schema paella-bench\/1, got a document that names none$/],
    ['null', /expected the schema paella-bench\/1, got a document that names none$/],
    [
      JSON.stringify({ ...document, schema: 'paella-bench/2' }),
      /expected the schema paella-bench\/1, got "paella-bench\/2"$/,
    ],
    [JSON.stringify({ ...document, extra: 1 }), /: expected a document of the schema paella-bench\/1, got /],
    [JSON.stringify({ ...document, rows: [{ ...row, extra: 1 }] }), /got rows\.0: /],
    [JSON.stringify({ ...document, rows: [{ ...row, samples: [] }] }), /got rows\.0\.samples: /],
    [
      JSON.stringify({ ...document, rows: [{ ...row, samples: [1] }] }),
      /got rows\.0\.ms\.runs: expected the 1 samples$/,
    ],
    [
      JSON.stringify({ ...document, rows: [{ ...row, ms: { ...row.ms, p99: 1 } }] }),
      /rows\.0\.ms\.p99: expected only from 100/,
    ],
    [
      JSON.stringify({ ...document, rows: [{ ...row, scenario: 'server' }] }),
      /rows\.0\.server: expected in a row of the scenario server$/,
    ],
    [
      JSON.stringify({ ...document, rows: [{ ...row, evidence: 'composed' }] }),
      /rows\.0\.explanation: expected in a row that is composed$/,
    ],
    [JSON.stringify({ ...document, rows: [{ ...row, steps: 0 }] }), /rows\.0\.steps/],
  ];
  for (const [text, message] of cases) {
    const error = await Promise.resolve()
      .then(() => parseDocument(text, 'x.json'))
      .catch((thrown: Error & { code?: string }) => thrown);
    t.match(error, { code: 'ERR_INVALID_OPTION', message }, text.slice(0, 40));
  }
  const folder = temporaryFolder(t);
  await rejectsWith(t, readDocument(path.join(folder, 'none.json')), 'ERR_IO', /cannot be read: no such file/);
  writeFileSync(path.join(folder, 'old.json'), JSON.stringify({ ...document, schema: 'paella-bench/0' }));
  const error = await rejectsWith(t, readDocument(path.join(folder, 'old.json')), 'ERR_INVALID_OPTION');
  t.match(error.remedy, /measure again/);
});

t.test('the formats for people and for tables', async (t) => {
  const rows = [rowOf(around(10, 5)), rowOf(around(20, 5), { steps: 16, command: 'paella bench --steps 16' })];
  const markdown = report(documentOf(rows), 'md');
  t.match(markdown, /^\| steps \| runs \| p50 ms \|/m, 'what differs');
  t.match(markdown, /^- width: 64$/m, 'what does not');
  t.match(markdown, / {4}paella bench --steps 16$/m, 'each row again');
  t.match(report(documentOf(rows, { complete: false }), 'md'), /interrupted/);
  t.equal(report(documentOf([]), 'md').includes('NaN'), false);
  const [head = '', ...lines] = report(documentOf([rowOf([1], { model: 'a, "b"' })]), 'csv').split('\n');
  t.match(head, /^scenario,subject,.*,ms\.p50,.*environment\.cpu,/);
  t.equal(lines.length, 1);
  t.match(lines[0], /,"a, ""b""",/);
  t.equal(report(documentOf([]), 'jsonl'), '');
});
