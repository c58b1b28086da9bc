/** Which files of a repository are worth fetching. */
import { PaellaError } from '../errors.js';
import { nearest } from '../options/nearest.js';
import type { ListedFile } from './listing.js';

const weights = /\.(safetensors|bin|pt|pth|ckpt)$/i;
const texts = /\.(json|txt|md)$|(^|\/)(licen[sc]e|notice)[^/]*$/i;
/** Of training, and of other programs than PyTorch. */
const others = /(^|\/)(optimizer|scheduler|training_args|rng_state)[^/]*$|(^|\/)(onnx|openvino|coreml|tf|flax)\//i;

/** Without patterns: weights and what describes them; of equal weights in two formats, safetensors. */
export function selectFiles(files: readonly ListedFile[], patterns: readonly string[]): ListedFile[] {
  if (patterns.length > 0) return matching(files, patterns);
  const wanted = files.filter(({ path }) => (weights.test(path) || texts.test(path)) && !others.test(path));
  const safe = new Set(wanted.filter(({ path }) => path.endsWith('.safetensors')).map(({ path }) => stemOf(path)));
  return wanted.filter(({ path }) => {
    const isTorch = /\.bin(\.index\.json)?$/.test(path);
    return !(isTorch && safe.has(stemOf(path)));
  });
}

/** 'x/pytorch_model-00001-of-00002.bin' and 'x/model.safetensors' → 'x/model' */
function stemOf(path: string): string {
  return path
    .replace(/(\.safetensors|\.bin)(\.index\.json)?$/, '')
    .replace(/-\d{5}-of-\d{5}$/, '')
    .replace(/(^|\/)(open_clip_)?pytorch_model$/, '$1$2model');
}

function matching(files: readonly ListedFile[], patterns: readonly string[]): ListedFile[] {
  const chosen = new Set<ListedFile>();
  for (const pattern of patterns) {
    const found = files.filter(({ path }) => globPattern(pattern).test(path));
    if (found.length === 0) {
      const names = files.map(({ path }) => path);
      const suggestion = nearest(pattern, names);
      throw new PaellaError('ERR_MODEL_NOT_FOUND', `files: the repository has no ${JSON.stringify(pattern)}`, {
        remedy: suggestion ? `did you mean ${suggestion}?` : `it has ${names.slice(0, 10).join(', ')}`,
      });
    }
    for (const file of found) chosen.add(file);
  }
  return [...chosen];
}

/** '*' within a folder, '**' across folders, '?' one character. */
function globPattern(glob: string): RegExp {
  const source = glob.replace(/\*\*|[*?]|[^*?]+/g, (piece) => {
    if (piece === '**') return '.*';
    if (piece === '*') return '[^/]*';
    return piece === '?' ? '[^/]' : piece.replace(/[\\^$.|+()[\]{}]/g, '\\$&');
  });
  return new RegExp(`^${source}$`);
}
