/** One checkpoint for each component, and whether the components fit to one another. */
import path from 'node:path';
import { PaellaError } from '../errors.js';
import type { ComponentName } from './components/component.js';
import { componentNames } from './components/component.js';
import { components } from './components/table.js';
import type { FoundComponent } from './identify.js';

/**
 * Repositories of transformers hold the same weights as pytorch_model.bin and model.safetensors, and CLIP's under open_clip's
 * names too. Any other second checkpoint of a component could be another model, so that a person has to choose.
 * Throws `ERR_MODEL_FORMAT`.
 */
export function chooseComponents(
  all: readonly FoundComponent[],
  skipped: { file: string; reason: string }[],
): FoundComponent[] {
  return componentNames.flatMap((name) => {
    const candidates = all.filter(({ component }) => component.name === name);
    const best = [...candidates].sort((a, b) => rank(a) - rank(b))[0];
    if (!best) return [];
    for (const other of candidates) {
      if (other === best) continue;
      if (!isCopy(best, other)) {
        throw new PaellaError(
          'ERR_MODEL_FORMAT',
          `${best.component.title}: two checkpoints hold it: ${best.checkpoint.label} and ${other.checkpoint.label}`,
          { remedy: 'name the files instead of the folder, only one of these two among them' },
        );
      }
      skipped.push({ file: other.checkpoint.label, reason: `the same as ${path.basename(best.checkpoint.label)}` });
    }
    return [best];
  });
}

const rank = ({ checkpoint, layout }: FoundComponent): number =>
  (checkpoint.format === 'safetensors' ? 0 : 2) + (layout.name === 'open_clip' ? 0 : 1);

const conventional = /^(open_clip_)?(pytorch_)?model(\.[\w.]+)?$/;

function isCopy(a: FoundComponent, b: FoundComponent): boolean {
  const [one, other] = [a.checkpoint, b.checkpoint];
  if (one.named || other.named || path.dirname(one.label) !== path.dirname(other.label)) return false;
  return [one, other].every(({ label }) => conventional.test(path.basename(label)));
}

export function missingComponents(chosen: readonly FoundComponent[]): ComponentName[] {
  const there = new Set(chosen.map(({ component }) => component.name));
  // The prior reads what CLIP's text encoder makes of the prompt.
  const needed = (name: ComponentName, required: boolean) => required || (name === 'clip_text' && there.has('prior'));
  return components.filter(({ name, required }) => needed(name, required) && !there.has(name)).map(({ name }) => name);
}

/** What one makes must be what the next takes. */
const fits: [taker: ComponentName, takes: string, maker: ComponentName, makes: string][] = [
  ['unet', 'byt5_embd', 'text_encoder', 'd_model'],
  ['unet', 'num_labels', 'vqgan', 'codebook_size'],
  ['unet', 'clip_embd', 'clip_text', 'embed_dim'],
  ['unet', 'clip_image_embd', 'clip_image', 'embed_dim'],
  ['unet', 'clip_image_embd', 'prior', 'c_in'],
  ['prior', 'c_cond', 'clip_text', 'embed_dim'],
];

/** Throws `ERR_MODEL_FORMAT`. */
export function checkFit(chosen: readonly FoundComponent[]): void {
  const find = (name: ComponentName) => chosen.find(({ component }) => component.name === name);
  for (const [taker, takes, maker, makes] of fits) {
    const [a, b] = [find(taker), find(maker)];
    if (!a || !b || a.config[takes] === b.config[makes]) continue;
    throw new PaellaError(
      'ERR_MODEL_FORMAT',
      `${a.checkpoint.label}: ${takes}: expected ${b.config[makes]}, the ${makes} of ${b.checkpoint.label}, found ${a.config[takes]}`,
      { remedy: 'these checkpoints are not of one model' },
    );
  }
}
