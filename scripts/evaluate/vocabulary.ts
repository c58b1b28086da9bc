/** The words of the bundled model's domain, and the colours they stand for (sRGB). */

export const SHAPES = ['circle', 'square', 'triangle', 'cross'] as const;
export type Shape = (typeof SHAPES)[number];

export const COLOURS = ['red', 'orange', 'yellow', 'green', 'blue', 'purple'] as const;
export type Colour = (typeof COLOURS)[number];

export const BACKGROUNDS = ['white', 'black', 'gray', 'light blue'] as const;
export type Background = (typeof BACKGROUNDS)[number];

export const RELATIONS = ['above', 'below', 'left', 'right'] as const;
export type Relation = (typeof RELATIONS)[number];

/** 'medium' is what a caption means that names no size. */
export const SIZES = ['small', 'medium', 'large'] as const;
export type Size = (typeof SIZES)[number];

export type Rgb = readonly [number, number, number];

export const COLOUR_VALUES: Readonly<Record<Colour, Rgb>> = {
  red: [220, 40, 40],
  orange: [245, 140, 30],
  yellow: [245, 215, 50],
  green: [40, 160, 70],
  blue: [40, 80, 210],
  purple: [140, 60, 180],
};

export const BACKGROUND_VALUES: Readonly<Record<Background, Rgb>> = {
  white: [255, 255, 255],
  black: [0, 0, 0],
  gray: [150, 150, 150],
  'light blue': [170, 215, 245],
};
