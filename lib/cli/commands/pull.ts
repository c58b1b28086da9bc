/** paella pull <owner/name> [files…] */
import { pull } from '../../hub/pull.js';
import { Progress } from '../progress.js';
import { type Arguments, type Context, print, printJson } from '../run.js';
import { bytes, table } from '../text.js';

export async function run(args: Arguments, { signal, json }: Context): Promise<undefined> {
  const progress = new Progress();
  const files = ((args.files ?? []) as unknown[]).map(String);
  try {
    const report = await pull(String(args.repository), {
      ...(files.length > 0 ? { files } : {}),
      ...(args.revision === undefined ? {} : { revision: String(args.revision) }),
      signal,
      onProgress: ({ file, loaded, total }) => progress.bar(`fetching ${file}`, loaded, total),
    });
    progress.clear();
    if (json) return printJson(report) as undefined;
    print(table(report.files.map(({ path, bytes: size }) => [path, bytes(size)])));
    print();
    print(`${bytes(report.fetched)} fetched, commit ${report.commit}`);
    print(report.folder);
  } catch (error) {
    progress.clear();
    if (signal.aborted) process.stderr.write('paella: the same command goes on where this one stopped\n');
    throw error;
  } finally {
    progress.clear();
  }
}
