// What an interruption may take: nothing that is done.
import t from 'tap';
import { floorOf } from '../../lib/cli/bench/floor.js';
import { repeated, unlessInterrupted } from '../../lib/cli/bench/scenarios/context.js';
import { rejection } from '../api/support/engine.js';

/** As a program that is stopped by its signal. */
const stopped = (controller: AbortController) => async (): Promise<number> => {
  controller.abort(new Error('interrupted'));
  throw new Error('The operation was aborted');
};

t.test('work that is interrupted has no result and does not fail', async (t) => {
  const controller = new AbortController();
  t.equal(await unlessInterrupted(controller.signal, async () => 1), 1);
  const failing = unlessInterrupted(controller.signal, async () => Promise.reject(new Error('broken')));
  t.match(await rejection(failing), { message: 'broken' }, 'a failure is one');
  t.equal(await unlessInterrupted(controller.signal, stopped(controller)), undefined);
  t.equal(await unlessInterrupted(controller.signal, async () => t.fail('begins nothing any more')), undefined);
});

t.test('runs until then count', async (t) => {
  const controller = new AbortController();
  const done: number[] = [];
  const work = async (i: number) => {
    if (i === 2) await stopped(controller)();
    done.push(i);
  };
  t.equal(await repeated(5, controller.signal, work), false);
  t.same(done, [0, 1]);
  t.equal(await repeated(5, new AbortController().signal, async (i) => i < 1), true, 'false ends it');
});

t.test('a floor says when its rate was measured', async (t) => {
  const rate = { gflop: 2, seconds: 0.001 };
  t.match(floorOf([rate, rate], 2), { ms: 1, share: 0.5, source: /before and after the steps/ });
  t.match(floorOf([rate], 2), { ms: 1, source: /, before the steps/ });
});
