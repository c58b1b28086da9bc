/**
 * The parameters of an image, in the image file: as the text that image tools show ("parameters" in the form of the
 * AUTOMATIC1111 web UI) and as JSON. PNG: two iTXt chunks. JPEG, WebP, AVIF: an XMP packet.
 */
import type { Metadata } from 'sharp';
import type { GenerateOptions } from '../options/generate-options.js';
import { packageVersion } from '../package-root.cjs';

/** What stands in the JSON; everything needed to make the image again. */
export interface ImageMetadata {
  /** 'paella-native <version>' */
  software: string;
  model: string;
  backend: string;
  precision: string;
  /** Without what has no text form: `condition`, `initTokens` and pictures that are no files, which `omitted` then names. */
  parameters: GenerateOptions;
  omitted?: string[];
}

const TEXT_KEY = 'parameters';
const JSON_KEY = 'paella';
const NAMESPACE = 'https://github.com/paella-native/ns/1.0/';

export function metadataOf(
  engine: { model: string; backend: string; precision: string },
  parameters: GenerateOptions,
): ImageMetadata {
  const { condition, initTokens, imagePrompt, ...plain } = parameters;
  const pictures = imagePrompt === undefined ? [] : Array.isArray(imagePrompt) ? imagePrompt : [imagePrompt];
  const named = pictures.every((picture) => typeof picture === 'string');
  const omitted = [
    ...(condition ? ['condition'] : []),
    ...(initTokens ? ['initTokens'] : []),
    ...(named ? [] : ['imagePrompt']),
  ];
  return {
    software: `paella-native ${packageVersion}`,
    ...engine,
    parameters: { ...plain, ...(named && pictures.length > 0 ? { imagePrompt: pictures as string[] } : {}) },
    ...(omitted.length > 0 ? { omitted } : {}),
  };
}

/** For PNG: keyword → text. */
export function pngTexts(metadata: ImageMetadata): Record<string, string> {
  return { [TEXT_KEY]: webUiText(metadata), [JSON_KEY]: JSON.stringify(metadata) };
}

/** For the other formats. */
export function xmpPacket(metadata: ImageMetadata): string {
  return [
    '<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>',
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
    `<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:${JSON_KEY}="${NAMESPACE}">`,
    `<dc:description><rdf:Alt><rdf:li xml:lang="x-default">${escapeXml(webUiText(metadata))}</rdf:li></rdf:Alt></dc:description>`,
    `<${JSON_KEY}:metadata>${escapeXml(JSON.stringify(metadata))}</${JSON_KEY}:metadata>`,
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>',
  ].join('');
}

/** `prompt`, `Negative prompt: …`, then one line of `Key: value` pairs. */
function webUiText({ software, model, parameters: p }: ImageMetadata): string {
  const ramp = (value: GenerateOptions['guidanceScale']) =>
    Array.isArray(value) ? [...new Set(value)].join(' to ') : value;
  const pairs: [string, unknown][] = [
    ['Steps', p.steps],
    ['Sampler', p.sampler],
    ['CFG scale', ramp(p.guidanceScale)],
    ['Seed', p.seed],
    ['Size', p.width === undefined ? undefined : `${p.width}x${p.height}`],
    ['Model', model],
    ['Temperature', ramp(p.temperature)],
    ['Renoise steps', p.renoiseSteps],
    ['Conditional steps', p.conditionalSteps],
    ['Version', software],
  ];
  const lines = [promptText(p.prompt)];
  if (p.negativePrompt) lines.push(`Negative prompt: ${p.negativePrompt}`);
  lines.push(
    pairs
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `${key}: ${value}`)
      .join(', '),
  );
  return lines.join('\n');
}

/** Parts with weights in the web UI's own way: `a (cat:1.5)`. */
function promptText(prompt: GenerateOptions['prompt']): string {
  if (prompt === undefined || typeof prompt === 'string') return prompt ?? '';
  return prompt.map(({ text, weight }) => (weight === 1 ? text : `(${text}:${weight})`)).join(' ');
}

/** Control characters cannot stand in XML at all; line breaks and tabs can. */
function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD')
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The other way round, from what sharp tells of a file. Null when the image has no metadata of ours. */
export function readFromSharp(info: Pick<Metadata, 'comments' | 'xmpAsString'>): ImageMetadata | null {
  const json =
    info.comments?.find(({ keyword }) => keyword.split('-').at(-1) === JSON_KEY)?.text ??
    info.xmpAsString
      ?.match(new RegExp(`<${JSON_KEY}:metadata>([^<]*)</${JSON_KEY}:metadata>`))?.[1]
      ?.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
  if (json === undefined) return null;
  try {
    return JSON.parse(json) as ImageMetadata;
  } catch {
    return null;
  }
}
