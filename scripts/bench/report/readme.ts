/** The part of the project's README that has numbers: some rows of the report, and its first chart. */
import type { BenchRow } from '../../../lib/cli/bench/schema.js';
import type { Chart } from './charts.js';
import {
  imageMs,
  isReference,
  type Machine,
  type MachineRow,
  medianMs,
  ratio,
  referenceNetwork,
  size,
  subjectOf,
  turnsOf,
  usualRows,
} from './machines.js';
import { type Column, duration, join, table, withBlock } from './markdown.js';

/** @param text of the project's README, which says where it wants the block. Throws where it has no place for it. */
export function withSpeed(text: string, block: string): string {
  return withBlock('README.md', 'speed', text, block);
}

interface Line {
  what: string;
  ms: number;
  evidence: string;
  against: string;
  reference?: boolean;
}

const what: Column<Line> = { head: 'what', cell: (line) => line.what };
const anImage: Column<Line> = { head: 'an image', cell: ({ ms }) => duration(ms), right: true };
const evidence: Column<Line> = { head: 'evidence', cell: (line) => line.evidence };

/** @param folder of the report, as seen from the README */
export function speedOf(machines: readonly Machine[], charts: readonly Chart[], folder: string): string {
  return join(
    ...machines.map((machine) => {
      const own = alone(machine.rows);
      const runs = [...turnsOf(machine.rows).values()].map(beside);
      const lines = runs.flat();
      const chart = charts.find(({ file }) => file === `${machine.slug}-images.svg`);
      return join(
        `On ${machine.name}:`,
        own.length > 0 ? table(own, [what, anImage, evidence]) : undefined,
        lines.length > 0
          ? 'Beside others on the same machine; each table is one run, in turns. *Of ours*: how many times as long as paella-native ' +
              'in the same run; below 1 is faster.'
          : undefined,
        ...runs.map((run) =>
          table(run, [what, anImage, { head: 'of ours', cell: ({ against }) => against, right: true }, evidence]),
        ),
        lines.some(({ what }) => what.includes('paella-v3-256,'))
          ? '`paella-v3-256` has two layers of the text encoder instead of 36, and neither CLIP nor the prior.'
          : undefined,
        runs.some((run) => run.some(({ reference }) => reference)) ? referenceNetwork : undefined,
        chart && `![${chart.alt}](${folder}/${chart.file})`,
      );
    }),
  );
}

/** The bundled model. */
function alone(rows: readonly MachineRow[]): Line[] {
  const own = rows.filter(({ subject, details }) => subject === 'paella-native' && details?.turns === undefined);
  const first = (scenario: BenchRow['scenario']) => own.find((row) => row.scenario === scenario && row.batch === 1);
  const line = (row: BenchRow | undefined, what: string) =>
    row ? [{ what, ms: medianMs(row), evidence: row.evidence, against: '' }] : [];
  const warm = first('single');
  return [
    ...line(warm, warm ? `paella-native: \`${warm.model}\`, ${size(warm)} px, ${stepsOf(warm)}` : ''),
    ...line(first('cold'), '… in a process of its own, from its start'),
  ];
}

/** One line for each program, model, size and way. */
function beside(rows: readonly MachineRow[]): Line[] {
  const usual = usualRows(rows);
  return usual.map((row) => {
    const ours = usual.find(
      (each) => each.subject === 'paella-native' && size(each) === size(row) && each.batch === row.batch,
    );
    const compile = row.compile && row.compile !== 'eager' ? `, ${row.compile}` : '';
    return {
      what: `${subjectOf(row)}: ${row.model.replace(/^random:/, '')}, ${size(row)} px, ${stepsOf(row)}${compile}`,
      ms: imageMs(row),
      evidence: `${row.evidence}, ${row.weights} weights`,
      reference: isReference(row),
      against: ours && ours !== row ? `${ratio(row, ours).toFixed(2)} ×` : '',
    };
  });
}

function stepsOf({ steps }: BenchRow): string {
  return steps === 1 ? '1 step' : `${steps} steps`;
}
