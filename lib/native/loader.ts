/** Finds and opens the native addon, and says what to do when that fails. */
import path from 'node:path';
import nodeGypBuild from 'node-gyp-build';
import { PaellaError } from '../errors.js';
import { packageRoot, packageVersion } from '../package-root.cjs';
import type { NativeModule } from './contract.js';

let loaded: NativeModule | undefined;

/** The addon; opened on the first call. Throws `ERR_ADDON`. */
export function loadNative(): NativeModule {
  loaded ??= open();
  return loaded;
}

/**
 * The OpenMP runtime reads its settings when the addon opens it. By default its threads spin for milliseconds between
 * loops, and beside one other busy process an image then takes ten times as long or worse; with this they wait in the
 * kernel after some microseconds, which costs an idle machine a few milliseconds an image. Whoever has set one of the
 * variables has decided already. (In a worker thread `process.env` is a copy, and this does nothing.)
 */
function calmThreads() {
  if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= '1000';
}

function open(): NativeModule {
  calmThreads();
  const here = `${process.platform}-${process.arch}`;
  let native: NativeModule;
  try {
    native = nodeGypBuild(packageRoot) as NativeModule;
  } catch (error) {
    const tried = [path.join('build', 'Release'), path.join('build', 'Debug'), path.join('prebuilds', here)];
    throw new PaellaError(
      'ERR_ADDON',
      [
        `the native addon could not be loaded on ${here}, Node.js ${process.versions.node}.`,
        `Tried, in ${packageRoot}: ${tried.join(', ')}.`,
        `Cause: ${(error as Error).message.trim()}`,
      ].join('\n'),
      { remedy: remedyFor(error as Error, here), cause: error },
    );
  }
  if (native.version !== packageVersion) {
    throw new PaellaError(
      'ERR_ADDON',
      `the native addon: expected version ${packageVersion}, got ${String(native.version)}`,
      { remedy: 'in a clone run `npm run build`; otherwise reinstall the package' },
    );
  }
  return native;
}

function remedyFor(error: Error, here: string): string {
  const text = error.message;
  if (/No native build was found/.test(text)) {
    return `in a clone run \`npm run build\`; otherwise this package has no binary for ${here}: build it from its repository`;
  }
  if (/libdnnl/.test(text))
    return 'libdnnl.so.3 must lie beside the addon: reinstall the package, or run `npm run build`';
  if (/GLIBC|GLIBCXX|libstdc\+\+|libgomp/.test(text)) {
    return 'the C++ run-time libraries of this system are too old or missing: update them (Debian and Ubuntu: libstdc++6, libgomp1), or build from the repository';
  }
  return 'reinstall the package, or build it from its repository with `npm run build`';
}
