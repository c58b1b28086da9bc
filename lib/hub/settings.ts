/** What the environment says about the Hugging Face hub; the names are those of the Python library huggingface_hub. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { PaellaError } from '../errors.js';

export interface HubSettings {
  /** Address of the hub or of a mirror, without a slash at the end. */
  endpoint: string;
  /** Folder of all repositories. */
  cache: string;
  token: string | undefined;
  offline: boolean;
  /** Before the first retry; each further one waits twice as long. */
  retryMs: number;
  /** Without a byte for so long, a connection counts as broken. */
  idleMs: number;
}

/** Those of HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT. Throws `ERR_INVALID_OPTION`. */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  const home = env.HF_HOME || path.join(env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'huggingface');
  return {
    endpoint: endpointOf(env.HF_ENDPOINT || 'https://huggingface.co'),
    cache: expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || path.join(home, 'hub')),
    token: tokenOf(env, home),
    offline: isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE),
    retryMs: 1000,
    idleMs: 1000 * (Number(env.HF_HUB_DOWNLOAD_TIMEOUT) || 30),
  };
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new PaellaError(
      'ERR_INVALID_OPTION',
      `HF_ENDPOINT: expected an address that begins with https://, got ${text}`,
    );
  }
  return text.replace(/\/+$/, '');
}

function tokenOf(env: NodeJS.ProcessEnv, home: string): string | undefined {
  if (isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const given = clean(env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN);
  if (given !== undefined) return given;
  try {
    // Written by `hf auth login`.
    return clean(readFileSync(expand(env.HF_TOKEN_PATH || path.join(home, 'token')), 'utf8'));
  } catch {
    return undefined;
  }
}

/** A line feed at the end is common, and would make an invalid header. */
function clean(token: string | undefined): string | undefined {
  const text = token?.trim();
  if (!text) return undefined;
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new PaellaError('ERR_INVALID_OPTION', 'HF_TOKEN: expected printable characters without spaces, got others');
  }
  return text;
}

const isOn = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');

const expand = (name: string): string => path.resolve(name.replace(/^~(?=$|\/)/, homedir()));
