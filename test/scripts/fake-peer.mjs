// A peer of `npm run bench:peers` without a model. Arguments: name, file for a protocol of its runs, what it does wrong.
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [name, protocol, fault] = process.argv.slice(2);
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const counted = { textEncoding: true, decode: true, encodeFile: false, load: false };
const machine = { weights: 'random', device: 'd', backend: 'b', precision: 'bf16', threads: 1 };
const how = { guidance: 7, scheduler: null, compile: 'eager', counted };
const image = { ...machine, ...how, subject: name, version: '1', model: 'm', width: 64, height: 64, batch: 1 };

let runs = 0;
if (fault === 'cannot load') say({ error: 'no weights' });
else if (fault === 'talks') process.stdout.write('Loading weights\n');
else say({ cases: [{ ...image, steps: [4, 8], measureSteps: 3 }], loadMs: 5, runtimes: { [name]: '1' }, gpus: [] });

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if ('end' in request) break;
  appendFileSync(protocol, `${name} ${process.pid} ${request.prompts.join()}\n`);
  runs++;
  if (fault === 'dies' && runs === 3) process.exit(1);
  if (fault === 'hangs' && runs === 3) setInterval(() => {}, 1000);
  else say({ ms: 100 * runs, stepMs: [runs, 2 * runs, 6 * runs], stages: { decode: 7 } });
}
say({ rssBytes: 1000, peakBytes: null });
