/** One conversion: from chosen components to a folder that is in its place. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { SourceFile } from '../checkpoints/source-file.js';
import { elementCount } from '../checkpoints/tensors.js';
import { checkSpace } from '../disk-space.js';
import { ioError, PaellaError } from '../errors.js';
import { missingComponents } from './choose.js';
import { copyClipMerges } from './clip-merges.js';
import type { ComponentName } from './components/component.js';
import type { ConvertOptions, ConvertProgress, ConvertReport } from './convert.js';
import type { ConvertPrecision } from './element-types.js';
import type { FoundComponent } from './identify.js';
import { candidatesOfSize, type KnownFile } from './known-files.js';
import { writeIndex, writeJson } from './model-index.js';
import { fingerprintOf, WorkFolder, workFolderOf } from './work-folder.js';
import { type ComponentFile, layOut, writeComponent } from './write-component.js';

/** Raised when the layout of the files changes: older unfinished folders are begun again. */
const FORMAT = 1;
const PROGRESS_MS = 100;

interface Job {
  readonly found: FoundComponent;
  readonly precision: ConvertPrecision;
  readonly file: ComponentFile;
}

interface Recognised {
  readonly file: string;
  readonly known: KnownFile;
}

export class Conversion {
  readonly #chosen: readonly FoundComponent[];
  readonly #skipped: ConvertReport['skipped'];
  readonly #target: string;
  readonly #options: ConvertOptions;
  readonly #sources: ReadonlySet<SourceFile>;
  /** Published files that a source may be, going by its size. */
  readonly #candidates: ReadonlyMap<SourceFile, readonly KnownFile[]>;
  readonly #warnings: string[] = [];
  #thrown: { error: unknown } | undefined;
  #shown = 0;

  constructor(
    chosen: readonly FoundComponent[],
    skipped: ConvertReport['skipped'],
    target: string,
    options: ConvertOptions,
  ) {
    this.#chosen = chosen;
    this.#skipped = skipped;
    this.#target = target;
    this.#options = options;
    this.#sources = new Set(chosen.flatMap(({ checkpoint }) => checkpoint.files));
    this.#candidates = new Map(
      [...this.#sources]
        .map((file) => [file, candidatesOfSize(file.size)] as const)
        .filter(([, list]) => list.length > 0),
    );
  }

  async run(): Promise<ConvertReport> {
    const folder = workFolderOf(this.#target);
    const jobs = this.#chosen.map((found): Job => {
      const precision = this.#precisionOf(found.component.name);
      const file = layOut(path.join(folder, found.component.name, 'model.safetensors'), found.tensors, precision);
      return { found, precision, file };
    });
    const work = await WorkFolder.open(this.#target, this.#fingerprint(jobs));
    try {
      const bytes = jobs.reduce((sum, { file }) => sum + file.size, 0);
      if (!work.resumed) await checkSpace(work.path, bytes);
      for (const file of this.#candidates.keys()) file.startHash(this.#options.signal);
      for (const job of jobs) await this.#write(job, work);
      const { recognised, warnings } = await this.#recognise();
      const name = this.#options.name ?? path.basename(this.#target);
      await writeIndex(work.path, { name, licence: this.#licence(recognised) }, this.#chosen);
      this.#options.signal?.throwIfAborted();
      await work.publish(this.#options.overwrite ?? false);
      return this.#report(jobs, recognised, warnings, work.resumed);
    } catch (error) {
      // An interruption or a full disk may end better next time; a damaged checkpoint will not.
      if (work.empty || (error instanceof PaellaError && error.code !== 'ERR_IO')) await work.remove();
      throw this.#thrown ? this.#thrown.error : error;
    }
  }

  #precisionOf(name: ComponentName): ConvertPrecision {
    const { precision } = this.#options;
    return (typeof precision === 'object' ? precision[name] : precision) ?? 'keep';
  }

  #fingerprint(jobs: readonly Job[]): string {
    return fingerprintOf([
      FORMAT,
      [...this.#sources].map(({ path: name, size, modified }) => [name, size, modified]),
      jobs.map(({ found, file }) => [
        file.header.toString('latin1'),
        found.tensors.map(({ pieces }) =>
          pieces.map((piece) => [piece.file.path, piece.offset, piece.dtype, piece.strides]),
        ),
      ]),
    ]);
  }

  async #write({ found, file }: Job, work: WorkFolder): Promise<void> {
    const { name } = found.component;
    const folder = path.dirname(file.path);
    await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      throw ioError('written', folder, error);
    });
    await writeJson(path.join(folder, 'config.json'), found.config);
    if (name === 'clip_text') {
      const warning = await copyClipMerges(found, folder, this.#target);
      if (warning) this.#warnings.push(warning);
    }
    const done = await work.finished(name, file);
    const countOf = (bytes: number) => file.tensors.filter(({ end }) => end <= bytes).length;
    let safe = 0;
    try {
      await writeComponent(file, done, {
        signal: this.#options.signal,
        progress: (made, inFile) => {
          work.note(name, () => countOf(inFile), file.path);
          this.#progress({ phase: name, loaded: made, total: file.size });
        },
        finished: (inFile) => {
          safe = inFile;
        },
      });
    } catch (error) {
      await work.save(name, countOf(safe), file.path).catch(() => undefined); // what hinders writing hinders this too
      throw error;
    }
    work.complete(name, file.tensors.length, file.path);
    this.#progress({ phase: name, loaded: file.size, total: file.size });
  }

  #progress(progress: ConvertProgress): void {
    const now = Date.now();
    if (progress.loaded < progress.total && now - this.#shown < PROGRESS_MS) return;
    this.#shown = now;
    try {
      this.#options.onProgress?.(progress);
    } catch (error) {
      this.#thrown = { error };
      throw error;
    }
  }

  async #recognise(): Promise<{ recognised: Recognised[]; warnings: string[] }> {
    const recognised: Recognised[] = [];
    const warnings = [...this.#warnings];
    for (const [file, candidates] of this.#candidates) {
      const sha256 = await file.finishHash();
      const known = candidates.find((each) => each.sha256 === sha256);
      if (known) recognised.push({ file: file.path, known });
      for (const { name, bytes } of candidates) {
        if (known || typeof bytes !== 'number') continue;
        warnings.push(`${file.path} is as large as ${name} but has other contents (sha256 ${sha256})`);
      }
    }
    return { recognised, warnings };
  }

  /** Only if every file is a published one. */
  #licence(recognised: readonly Recognised[]): string | undefined {
    if (recognised.length < this.#sources.size) return undefined;
    return [...new Set(recognised.map(({ known }) => known.licence))].join(', ');
  }

  #report(
    jobs: readonly Job[],
    recognised: readonly Recognised[],
    warnings: string[],
    resumed: boolean,
  ): ConvertReport {
    return {
      folder: this.#target,
      components: jobs.map(({ found, precision, file }) => ({
        name: found.component.name,
        title: found.component.title,
        sources: [...new Set(found.tensors.flatMap(({ pieces }) => pieces.map((piece) => piece.file.path)))],
        layout: found.layout.name,
        wrappers: [...found.checkpoint.wrappers],
        tensors: found.tensors.length,
        leftOut: found.ignored,
        parameters: found.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
        bytes: file.size,
        precision,
        config: found.config,
      })),
      missing: missingComponents(this.#chosen),
      recognised: recognised.map(({ file, known }) => ({ file, name: known.name, sha256: known.sha256 })),
      skipped: this.#skipped,
      warnings,
      resumed,
    };
  }
}
