/** The words of the bundled model's domain, the colours they stand for (sRGB) and the figures' geometry, from domain.json. */

import { readFileSync } from 'node:fs';
import { z } from 'zod';

export type Rgb = readonly [number, number, number];

const rgb = z.tuple([z.number(), z.number(), z.number()]).readonly();
const circle = z.tuple([z.number(), z.number(), z.number()]);

/** A part of a figure in the square from -1 to 1, y downwards. */
const layer = z.object({
  /** 'main' is the object's own colour, any other an accent. */
  fill: z.string(),
  polygon: z.array(z.tuple([z.number(), z.number()])).optional(),
  /** x, y, radius */
  circle: circle.optional(),
  /** x, y, radius along x, radius along y */
  ellipse: z.tuple([z.number(), z.number(), z.number(), z.number()]).optional(),
  /** A circle that is cut out. */
  minus: circle.optional(),
});
export type Layer = z.infer<typeof layer>;

const domain = z
  .object({
    colours: z.record(z.string(), rgb),
    accents: z.record(z.string(), rgb),
    figures: z.record(
      z.string(),
      z.object({
        colours: z.array(z.string()),
        natural: z.string().optional(),
        mirrored: z.boolean().default(false),
        variants: z.array(z.array(layer)).min(1),
      }),
    ),
    textures: z.array(z.string()),
    textured_figures: z.array(z.string()),
    containers: z.array(z.string()),
    sizes: z
      .array(
        z.object({
          side: z.number(),
          small: z.number(),
          medium: z.number(),
          large: z.number(),
          container: z.number(),
          inner: z.number(),
        }),
      )
      .min(1),
    backgrounds: z.record(z.string(), z.object({ top: rgb, below: rgb.optional(), bottom: rgb.optional() })),
    /** Share of the height above the horizon. */
    horizon: z.number(),
    least_contrast: z.number(),
  })
  .parse(JSON.parse(readFileSync(new URL('../train/domain.json', import.meta.url), 'utf8')));

export const FIGURE_SHAPES = domain.figures;
export const FIGURES = Object.keys(domain.figures);
export const COLOUR_VALUES: Readonly<Record<string, Rgb>> = domain.colours;
export const COLOURS = Object.keys(domain.colours);
export const ACCENT_VALUES: Readonly<Record<string, Rgb>> = domain.accents;
export const TEXTURED_FIGURES = domain.textured_figures;
/** Figures that other things may stand in. */
export const CONTAINERS = domain.containers;
/** Half of the box's side, px, of things in pictures whose shorter side is at least `side` px, in rising order. */
export const HALVES = domain.sizes;
export const BACKGROUND_VALUES = domain.backgrounds;
export const BACKGROUNDS = Object.keys(domain.backgrounds);
/** Share of the height above the horizon. */
export const HORIZON = domain.horizon;
/** Least OKLab distance between an object's colour and what lies behind it. */
export const LEAST_CONTRAST = domain.least_contrast;

export const TEXTURES = ['plain', 'striped', 'dotted', 'outlined'] as const;
export type Texture = (typeof TEXTURES)[number];

/** 'medium' is what a caption means that names no size. */
export const SIZES = ['small', 'medium', 'large'] as const;
export type Size = (typeof SIZES)[number];

export const CORNERS = ['top left', 'top right', 'bottom left', 'bottom right'] as const;

/** A value of a table whose keys come from the table itself. */
export function known<T>(table: Readonly<Record<string, T>>, name: string): T {
  const value = table[name];
  if (value === undefined) throw new RangeError(`${name}: not a word of domain.json`);
  return value;
}
