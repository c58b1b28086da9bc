/** The published files (spec, "Weights"): whoever has one of them should be told so. */

export interface KnownFile {
  /** 'owner/name: file' on the hub. */
  readonly name: string;
  /** Exactly, or from … to where only about is known. */
  readonly bytes: number | readonly [number, number];
  readonly sha256: string;
  readonly licence: string;
}

export const knownFiles: readonly KnownFile[] = [
  {
    name: 'dome272/Paella: paella_v3.pt',
    bytes: 4_033_729_477,
    sha256: '7a81734cae1fa4b1e4a615f8ea89328604064d8243d5b3c0a8cea5aea2d2a96d',
    licence: 'MIT',
  },
  {
    name: 'dome272/Paella: prior_v1.pt',
    bytes: 3_599_182_303,
    sha256: '19dba869a060b6c9a752f5218574e4981ae95e96e32a80f2d0b57b0dacef77a7',
    licence: 'MIT',
  },
  {
    name: 'dome272/Paella: vqgan_f4.pt',
    bytes: 73_673_353,
    sha256: 'bd1a50194ba08f16dbf9ad3557e6c04428eaff3a0393a613df49b7b1655bb048',
    licence: 'MIT',
  },
  {
    name: 'dome272/wuerstchen: vqgan_f4_v1_500k.pt',
    bytes: [290_000_000, 302_000_000],
    sha256: 'b4a81dd8733268a68d08844e33b917d4dbe27d5c5382dcbde522df3af16f343e',
    licence: 'MIT',
  },
  {
    name: 'google/byt5-xl: pytorch_model.bin',
    bytes: 14_951_437_144,
    sha256: 'd286d2311c566e104e9d51918362c3fad69cc6b26d7993ef380234be55d3e68c',
    licence: 'Apache-2.0',
  },
  {
    name: 'laion/CLIP-ViT-H-14-laion2B-s32B-b79K: open_clip_pytorch_model.bin',
    bytes: [3_935_000_000, 3_955_000_000],
    sha256: '9a78ef8e8c73fd0df621682e7a8e8eb36c6916cb3c16b291a082ecd52ab79cc4',
    licence: 'MIT',
  },
];

/** Those which a file of this size may be: only then is it worth computing its hash. */
export function candidatesOfSize(bytes: number, files: readonly KnownFile[] = knownFiles): KnownFile[] {
  return files.filter(({ bytes: size }) =>
    typeof size === 'number' ? size === bytes : size[0] <= bytes && bytes <= size[1],
  );
}
