/** Which backends there are, and which one an engine gets. */
import { PaellaError } from '../errors.js';
import type { NativeBackendInfo } from '../native/contract.js';
import { loadNative } from '../native/loader.js';
import type { BackendName, ResolvedLoadOptions } from '../options/load-options.js';
import { invalidOption } from '../options/validate.js';
import type { BackendInfo, EngineWarning } from './types.js';

/** Best first. */
const preference: readonly BackendName[] = ['tensorrt', 'cuda', 'cpu'];

/** Every backend, with the reason where it cannot be used here. Throws `ERR_ADDON`. */
export async function backends(): Promise<BackendInfo[]> {
  const known = await loadNative().backends();
  return preference.map((name) => known.find((info) => info.name === name) ?? missing(name)).reverse();
}

function missing(name: BackendName): NativeBackendInfo {
  return {
    name,
    available: false,
    reason: `this version of paella-native has no ${name} backend yet`,
    devices: [],
    precisions: [],
    details: {},
  };
}

export interface BackendChoice {
  backend: BackendName;
  warnings: EngineWarning[];
}

/** Throws `ERR_BACKEND_UNAVAILABLE`, or `ERR_INVALID_OPTION` for a precision that the backend lacks. */
export async function chooseBackend(options: ResolvedLoadOptions): Promise<BackendChoice> {
  const all = await backends();
  const infoOf = (name: BackendName) => all.find((info) => info.name === name) ?? missing(name);
  const warnings: EngineWarning[] = [];
  let chosen: BackendInfo | undefined;
  if (options.backend === 'auto') {
    for (const info of preference.map(infoOf)) {
      if (info.available) {
        chosen = info;
        break;
      }
      // Without a device of its kind nobody expects the backend; with one, the user wants to know.
      if (info.devices.length > 0) {
        warnings.push({
          code: 'BACKEND_FALLBACK',
          message: `backend ${info.name} is unavailable: ${info.reason ?? 'no reason given'}`,
        });
      }
    }
    if (!chosen) {
      const reasons = all.map((info) => `${info.name}: ${info.reason ?? 'no reason given'}`).join('; ');
      throw new PaellaError('ERR_BACKEND_UNAVAILABLE', `no backend is available (${reasons})`, {
        remedy: 'run `paella doctor`',
      });
    }
  } else {
    chosen = infoOf(options.backend);
    if (!chosen.available) {
      throw new PaellaError(
        'ERR_BACKEND_UNAVAILABLE',
        `backend ${chosen.name} is unavailable: ${chosen.reason ?? 'no reason given'}`,
        {
          remedy: chosen.remedy ?? "use backend 'auto' or 'cpu', or run `paella doctor`",
        },
      );
    }
  }
  if (options.precision !== 'auto' && !chosen.precisions.includes(options.precision)) {
    throw invalidOption(
      'precision',
      `one of auto, ${chosen.precisions.join(', ')} with backend ${chosen.name}`,
      options.precision,
    );
  }
  const devices = Math.max(1, chosen.devices.length);
  if (options.device >= devices) {
    throw invalidOption('device', `a number below ${devices} (backend ${chosen.name} has ${devices})`, options.device);
  }
  return { backend: chosen.name, warnings };
}
