/** paella encode <image> */
import { writeAtomically } from '../../images/files.js';
import { checkOutput, checkWritable } from '../output.js';
import { loadEngine } from '../progress.js';
import { type Arguments, type Context, print } from '../run.js';
import { loadValues } from '../values.js';

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  const output = checkOutput(args.output);
  if (output !== undefined) await checkWritable(output);
  const engine = await loadEngine({ ...loadValues(args), signal });
  try {
    const { tokens, width, height } = await engine.encodeImage(String(args.image));
    signal.throwIfAborted();
    const document = JSON.stringify({ model: engine.model.name, width, height, tokens: Array.from(tokens) });
    if (output === undefined) return print(document) as undefined;
    await writeAtomically(output, `${document}\n`);
    print(json ? JSON.stringify({ file: output, width, height }) : `${output}  ${width}×${height} tokens`);
  } finally {
    await engine.dispose({ abort: true });
  }
}
