/** The held-out combinations, and held-out wordings of such. */

import { drawAll } from '../draw.js';
import { spread } from '../expectation.js';
import { captionsReport } from '../report.js';
import { contactSheet } from '../sheet.js';
import { ofCombinations, ofWordings, type Section } from './section.js';

/** Pictures on the contact sheet. */
const SHOWN = 48;

export const captions: Section = async ({ painter, expectations, count }) => {
  const all = ofCombinations(expectations);
  const drawn = await drawAll(painter, 'captions', spread(all, count ?? all.length));
  const report = captionsReport('Held-out combinations', drawn);
  return { report, extra: { 'sheet.png': await contactSheet(spread(drawn, SHOWN)) } };
};

export const wordings: Section = async ({ painter, expectations, count }) => {
  const all = ofWordings(expectations);
  const drawn = await drawAll(painter, 'wordings', spread(all, count ?? all.length));
  return { report: captionsReport('Held-out combinations in unseen wordings', drawn) };
};
