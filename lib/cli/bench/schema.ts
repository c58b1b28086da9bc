/**
 * The documents that benchmarks write and read, ours and those of peers. This is the source; `schema.json` beside it is
 * the same as JSON Schema 2020-12, for programs in other languages (`npm run bench:schema` writes it).
 */
import { z } from 'zod';

/** Changes with every change that an older reader would get wrong. */
export const schemaName = 'paella-bench/1';
/** p99 of fewer samples than this is one of the largest values, not a percentile. */
export const leastSamplesOfP99 = 100;

const milliseconds = z.number().min(0);
const bytes = z.int().min(0);
const share = z.number().min(0).max(1);

export const scenarios = [
  'single',
  'offline',
  'server',
  'stages',
  'scaling',
  'cold',
  'soak',
  'native',
  'prompts',
  'load',
] as const;

const environmentSchema = z
  .strictObject({
    time: z.iso.datetime({ offset: true }).describe('when the run began, ISO 8601'),
    cpu: z.string().min(1),
    cores: z.int().min(1).describe('that the process may use'),
    memoryGiB: z.number().min(0),
    os: z.string().min(1),
    runtimes: z
      .record(z.string(), z.string())
      .describe("versions of what ran, e.g. { node: '20.20.2' } or { python: '3.11.2', torch: '2.15.0' }"),
    gpus: z
      .array(
        z.strictObject({
          name: z.string().min(1),
          memoryGiB: z.number().min(0).optional(),
          driver: z.string().optional(),
          computeCapability: z.string().optional(),
        }),
      )
      .describe('empty: none')
      .optional(),
  })
  .describe('where and when');

const summarySchema = z
  .strictObject({
    runs: z.int().min(1),
    min: milliseconds,
    mean: milliseconds,
    stddev: z.number().min(0).describe('of the sample (n - 1); 0 for one run'),
    p50: milliseconds.describe('the median; the others are nearest-rank percentiles'),
    p90: milliseconds,
    p95: milliseconds,
    p99: milliseconds.optional().describe(`only from ${leastSamplesOfP99} samples`),
  })
  .describe('milliseconds of what `sampleOf` names');

const serverSchema = z
  .strictObject({
    rate: z.number().positive().describe('arrivals per second that were asked for (Poisson)'),
    achievedRate: z.number().min(0).describe('answers per second, from the first arrival to the last answer'),
    durationSeconds: z.number().positive().describe('for which requests arrived'),
    seed: z.int().min(0).describe('of the arrivals'),
    arrivals: z.int().min(0),
    completed: z.int().min(0),
    dropped: z.int().min(0).describe('refused by a full queue'),
    droppedShare: share.describe('of the arrivals'),
    deadlineMs: milliseconds.nullable().describe('latency beyond which an answer is late; null: none'),
    lateShare: share.describe('of the arrivals: answered after the deadline'),
    meanBatch: z.number().min(0).describe('images in a batch'),
    dispatchLagMs: milliseconds.describe('p95 of how much later than planned requests were sent: the generator itself'),
    found: z
      .strictObject({
        percentile: z.enum(['p50', 'p90', 'p95', 'p99']),
        limitMs: milliseconds.describe('what the percentile was to stay below'),
        tried: z
          .array(z.strictObject({ rate: z.number().positive(), ms: milliseconds, held: z.boolean() }))
          .describe('every rate that was tried, in order'),
      })
      .optional()
      .describe('the row is the highest rate of a search'),
  })
  .describe('latency is counted from the planned arrival to the image');

const soakSchema = z.strictObject({
  generations: z.int().min(1),
  seconds: z.number().min(0),
  rssFirstBytes: bytes.describe('resident memory, median of the first window'),
  rssLastBytes: bytes.describe('… of the last window'),
  rssGrowthBytes: z.int(),
  latencyDrift: z.number().min(0).describe('median of the last window over that of the first'),
  engineCurrentBytes: bytes,
  enginePeakBytes: bytes,
  eventLoopDelayMs: z.strictObject({ mean: milliseconds, p99: milliseconds, max: milliseconds }),
  windows: z
    .array(z.strictObject({ generations: z.int().min(1), p50: milliseconds, rssBytes: bytes }))
    .describe('equal parts of the run, in order: median milliseconds and median resident memory'),
});

const floorSchema = z
  .strictObject({
    ms: milliseconds.describe('what the matrix products of one step need at the plain product rate'),
    gflop: z.number().min(0).describe('of the matrix products of one step'),
    gflops: z.number().min(0).describe('plain product rate on the same shapes, measured in the same run'),
    share: z.number().min(0).describe('floor over the measured step: 1 is as fast as plain products'),
    source: z.string().describe('the program that measured the rate'),
  })
  .describe('of one step');

const rowFields = {
  scenario: z.enum(scenarios),
  subject: z
    .string()
    .min(1)
    .describe("what ran: 'paella-native', 'diffusers', 'stable-diffusion.cpp', 'pytorch-paella'"),
  version: z.string().min(1).describe('of the subject'),
  commit: z.string().nullable().describe("of the subject's repository, with + if it had changes; null: unknown"),
  time: z.iso.datetime({ offset: true }).describe('when the row was measured, ISO 8601'),
  command: z.string().min(1).describe('which reproduces the row'),
  evidence: z
    .enum(['measured', 'composed', 'predicted'])
    .describe('measured as a whole; composed of measured parts; or predicted'),
  explanation: z.string().min(1).optional().describe('composed: how, and of which measurements; predicted: from what'),

  model: z.string().min(1).describe("name, e.g. 'tiny', 'random:paella-v3-256', 'stable-diffusion-v1-5'"),
  weights: z.enum(['trained', 'random']),
  device: z.string().min(1).describe("the processor's or GPU's name"),
  backend: z.string().min(1).describe("'cpu', 'cuda', 'tensorrt', for peers also 'ggml' and the like"),
  precision: z.string().min(1).describe('of the matrix products'),
  threads: z.int().min(1).nullable().describe('of the CPU; null: not told'),
  width: z.int().min(1).describe('pixels'),
  height: z.int().min(1).describe('pixels'),
  steps: z.int().min(1),
  batch: z.int().min(1).describe('images of one call'),
  guidance: z
    .union([z.number(), z.tuple([z.number(), z.number()])])
    .nullable()
    .describe('scale, or [first, last] step; null: without'),
  scheduler: z.string().nullable().describe("e.g. 'LCM'; null: the model's own way"),
  compile: z.string().nullable().describe("e.g. 'eager', 'torch.compile max-autotune'; null: does not apply"),
  maxBatch: z.int().min(1).optional().describe('most images that the engine puts into one batch'),
  maxDelayMs: milliseconds.optional().describe('how long a request may wait for others'),
  maxQueue: z.int().min(1).optional().describe('most requests that may wait; more are dropped'),
  memory: z.string().optional().describe('what stays loaded'),
  encoderWeights: z.string().optional().describe("'int8': those of what encodes prompts have 8 bits"),
  counted: z
    .strictObject({
      textEncoding: z.boolean(),
      decode: z.boolean().describe('of tokens or latents to pixels'),
      encodeFile: z.boolean().optional().describe('as PNG or the like'),
      load: z.boolean().optional().describe('start of the process and loading'),
    })
    .describe('what the samples contain'),

  sampleOf: z
    .enum(['call', 'request', 'process', 'step', 'operation'])
    .describe('what one sample is: a call (batch images), an answer to a request, a process, a step, an operation'),
  warmup: z.int().min(0).describe('runs before, not among the samples'),
  firstMs: milliseconds.nullable().describe('the very first run, caches cold; not among the samples; null: not told'),
  loadMs: milliseconds.nullable().describe('loading the model; null: not told'),
  ms: summarySchema,
  samples: z.array(milliseconds).min(1).describe('milliseconds, in the order of the runs'),
  imagesPerSecond: z.number().min(0).nullable().describe('null: the row has no whole images'),
  stages: z.record(z.string(), milliseconds).describe('median milliseconds by stage; empty: not told'),
  peakBytes: bytes.nullable().describe('of weights, activations and caches, by its own account; null: not told'),
  rssBytes: bytes.nullable().describe('resident memory of the process at the end; null: not told'),

  pair: z
    .strictObject({
      id: z.string().min(1),
      side: z.enum(['A', 'B']),
    })
    .optional()
    .describe('rows of the same id ran in turns (A B A B): sample i of A belongs to sample i of B'),
  server: serverSchema.optional(),
  soak: soakSchema.optional(),
  perStep: z.array(milliseconds).min(1).optional().describe('median milliseconds of each step'),
  floor: floorSchema.optional(),
  operation: z.string().min(1).optional().describe('a part of a step that was measured alone'),
  axis: z.enum(['pixels', 'steps', 'batch', 'threads']).optional().describe('scaling: what changes in this curve'),
  details: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.number())]))
    .optional()
    .describe('what else a program has to say; not compared, but for concurrency, clients, workers and inFlight'),
} as const;

const row = z.strictObject(rowFields);

/** The block that a scenario's rows must have. */
const blockOf = { server: 'server', soak: 'soak', stages: 'perStep', scaling: 'axis' } as const;

export const rowSchema = row.superRefine((value, context) => {
  const wrong = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message });
  const block = blockOf[value.scenario as keyof typeof blockOf];
  if (block && value[block] === undefined) wrong([block], `expected in a row of the scenario ${value.scenario}`);
  if (value.evidence !== 'measured' && value.explanation === undefined)
    wrong(['explanation'], `expected in a row that is ${value.evidence}`);
  if (value.ms.runs !== value.samples.length) wrong(['ms', 'runs'], `expected the ${value.samples.length} samples`);
  if (value.ms.p99 !== undefined && value.ms.runs < leastSamplesOfP99)
    wrong(['ms', 'p99'], `expected only from ${leastSamplesOfP99} samples`);
});

const document = z.strictObject({
  $schema: z.string().optional(),
  schema: z.literal(schemaName),
  environment: environmentSchema,
  complete: z.boolean().optional().describe('false: the run was interrupted; these are the rows until then'),
  command: z
    .string()
    .min(1)
    .optional()
    .describe('which made the whole document; `command` of a row makes that row alone'),
  rows: z.array(rowSchema),
});
export const documentSchema = document;

/** A line of JSON lines: a row with the rest of the document within. */
export const lineSchema = z.looseObject({
  schema: z.literal(schemaName),
  environment: environmentSchema,
  complete: z.boolean().optional(),
});

export type Environment = z.output<typeof environmentSchema>;
export type BenchRow = z.output<typeof row>;
export type BenchDocument = z.output<typeof documentSchema>;
export type Scenario = BenchRow['scenario'];
export type Summary = z.output<typeof summarySchema>;
export type ServerFigures = z.output<typeof serverSchema>;
export type Floor = z.output<typeof floorSchema>;

/** The JSON Schema of a document; `$defs.row` and `$defs.line` are a row and a line of JSON lines. */
export function jsonSchema(): object {
  const { $schema, ...outer } = translate(document.extend({ rows: z.array(z.unknown()) }));
  const { $schema: _, ...inner } = translate(row);
  const reference = (path: string, names: object) =>
    Object.fromEntries(Object.keys(names).map((name) => [name, { $ref: `#${path}/properties/${name}` }]));
  const ofDocument = { schema: true, environment: true };
  return {
    $schema,
    $id: 'urn:paella-native:bench:1',
    title: 'Benchmarks of paella-native and its peers',
    ...outer,
    properties: { ...outer.properties, rows: { type: 'array', items: { $ref: '#/$defs/row' } } },
    $defs: {
      row: { ...inner, allOf: rules() },
      line: {
        description: 'one line of JSON lines: a row with the rest of its document within',
        ...inner,
        properties: {
          ...reference('', { ...ofDocument, complete: true }),
          ...reference('/$defs/row', inner.properties),
        },
        required: [...Object.keys(ofDocument), ...inner.required],
        allOf: rules(),
      },
    },
  };
}

interface ObjectSchema {
  $schema: string;
  properties: Record<string, object>;
  required: string[];
}

/** Without the limits of JavaScript's integers and zod's long expression for dates, which `format` says as well. */
function translate(schema: z.ZodType): ObjectSchema {
  return z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  }) as unknown as ObjectSchema;
}

/** Those of `rowSchema` that JSON Schema can express. */
function rules(): object[] {
  const demand = (name: string, condition: object, consequence: object) => ({
    if: { properties: { [name]: condition }, required: [name] },
    // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
    then: consequence,
  });
  return [
    ...Object.entries(blockOf).map(([scenario, block]) =>
      demand('scenario', { const: scenario }, { required: [block] }),
    ),
    demand('evidence', { enum: ['composed', 'predicted'] }, { required: ['explanation'] }),
    demand('samples', { maxItems: leastSamplesOfP99 - 1 }, { properties: { ms: { properties: { p99: false } } } }),
  ];
}
