/** paella doctor */
import { backends } from '../../engine/backends.js';
import { bundledModels } from '../../engine/model-folder.js';
import { invalidOption } from '../../options/validate.js';
import { packageRoot, packageVersion } from '../../package-root.cjs';
import { type Arguments, type Context, EXIT_FAILED, print, printJson } from '../run.js';
import { bytes, table } from '../text.js';

export async function run(args: Arguments, { json }: Context): Promise<number> {
  const all = await backends();
  const wanted = args.backend as string | undefined;
  if (wanted !== undefined && !all.some(({ name }) => name === wanted)) {
    throw invalidOption('backend', `one of ${all.map(({ name }) => name).join(', ')}`, wanted);
  }
  const models = bundledModels();
  const software = {
    version: packageVersion,
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    folder: packageRoot,
  };
  if (json) printJson({ ...software, models, backends: all });
  else {
    const { version, node, platform, folder } = software;
    print(
      table([
        ['paella-native', version],
        ['Node.js', node],
        ['platform', platform],
        ['folder', folder],
        ['models', models.join(', ') || 'none'],
      ]),
    );
    for (const backend of all) {
      print();
      print(
        `${backend.available ? '✓' : '✗'} ${backend.name}${backend.available ? '' : `: ${backend.reason ?? 'unavailable'}`}`,
      );
      if (backend.remedy) print(`    ${backend.remedy}`);
      const rows = Object.entries(backend.details).map(([key, value]) => [`    ${key}`, value]);
      if (backend.precisions.length > 0) rows.unshift(['    precisions', backend.precisions.join(', ')]);
      for (const [i, device] of backend.devices.entries()) {
        const capability = device.computeCapability === undefined ? '' : ` (${device.computeCapability})`;
        rows.splice(i, 0, [
          `    device ${i}`,
          `${device.name}${capability}, ${bytes(device.memoryFree)} of ${bytes(device.memoryTotal)} free`,
        ]);
      }
      if (rows.length > 0) print(table(rows));
    }
  }
  const failed =
    wanted === undefined
      ? !all.some(({ available }) => available)
      : !all.find(({ name }) => name === wanted)?.available;
  return failed ? EXIT_FAILED : 0;
}
