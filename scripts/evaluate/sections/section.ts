/** What every section of the evaluation gets and gives. */

import type { Sweep } from '../chart.js';
import type { Painter } from '../draw.js';
import type { Expectation } from '../expectation.js';
import type { SectionReport, Settings } from '../report.js';

export interface SectionInput {
  painter: Painter;
  settings: Settings;
  /** All held-out captions. */
  expectations: readonly Expectation[];
  /** Captions at most, if the run is a partial one. */
  count: number | undefined;
}

export interface SectionOutput {
  report: SectionReport;
  /** Further files by how their names end. */
  extra?: Record<string, string | Buffer>;
  /** For the chart: the share of wholly right pictures by the value of an option. */
  sweep?: Sweep;
}

export type Section = (input: SectionInput) => Promise<SectionOutput>;

const UNSEEN_WORDINGS = 'unseen wordings';

/** Captions whose combinations of things are held out, in wordings like those of training. */
export function ofCombinations(expectations: readonly Expectation[]): Expectation[] {
  return expectations.filter(({ part }) => part !== UNSEEN_WORDINGS);
}

export function ofWordings(expectations: readonly Expectation[]): Expectation[] {
  return expectations.filter(({ part }) => part === UNSEEN_WORDINGS);
}
