/** The one line that says that a model does not know some words of a prompt. */
import { unknownWords } from '../engine/domain.js';
import type { ModelInfo } from '../engine/types.js';

const MOST_SHOWN = 5;
const LONGEST_WORD = 40;

let said = false;

/**
 * Undefined where there is nothing to say, and after the first time in this process: who draws many pictures with one
 * command has read it by then.
 */
export function noteOnce(model: Pick<ModelInfo, 'name' | 'domain'>, prompt: string): string | undefined {
  if (said || !model.domain) return undefined;
  const unknown = unknownWords(model.domain, prompt);
  if (unknown.length === 0) return undefined;
  said = true;
  const { about, remedy } = model.domain;
  return `note: ${JSON.stringify(model.name)} draws only ${about}; it does not know: ${listOf(unknown)}. ${remedy}`;
}

/** 'portrait, einstein', 'a, b, c, d, e and 3 more' */
function listOf(words: readonly string[]): string {
  const shown = words.slice(0, MOST_SHOWN).map(shortened).join(', ');
  return words.length > MOST_SHOWN ? `${shown} and ${words.length - MOST_SHOWN} more` : shown;
}

function shortened(word: string): string {
  const characters = [...word];
  return characters.length > LONGEST_WORD ? `${characters.slice(0, LONGEST_WORD - 1).join('')}…` : word;
}
