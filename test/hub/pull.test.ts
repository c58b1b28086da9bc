// pull() and models of a hub by name, against a hub on this machine.
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { convert, Paella, pull } from '../../lib/index.js';
import { rejection, rejectsWith, root, temporaryFolder } from '../api/support/engine.js';
import { paella } from '../api/support/process.js';
import { commit, cut, type Hub, startHub } from './hub-server.js';

const small = Buffer.from('{"a": 1}\n');
const large = Buffer.alloc(3_000_000, 'weights');

interface Place {
  hub: Hub;
  /** '…/models--owner--name' */
  folder: string;
  snapshot: string;
  env: Record<string, string>;
}

/** A hub with files, and a cache of its own, both named by the environment as users do it. */
async function place(t: Test, files: Record<string, Buffer>, env: Record<string, string> = {}): Promise<Place> {
  const hub = await startHub(t, files);
  const cache = path.join(temporaryFolder(t), 'hub');
  const all = {
    HF_ENDPOINT: hub.endpoint,
    HF_HUB_CACHE: cache,
    HF_TOKEN: '',
    HF_HUB_OFFLINE: '',
    HF_HOME: path.dirname(cache),
    ...env,
  };
  const before = { ...process.env };
  Object.assign(process.env, all);
  t.teardown(() => {
    for (const name of Object.keys(all)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  const folder = path.join(cache, 'models--owner--name');
  return { hub, folder, snapshot: path.join(folder, 'snapshots', commit), env: all };
}

const files = { 'model_index.json': small, 'unet/model.safetensors': large, 'README.md': small, 'photo.jpg': small };

t.test('the layout of the shared cache', async (t) => {
  const { hub, folder, snapshot } = await place(t, files);
  const progress: number[] = [];
  const report = await pull('owner/name', { onProgress: ({ loaded, total }) => progress.push(loaded / total) });
  t.match(report, { repository: 'owner/name', revision: 'main', commit, folder: snapshot });
  t.same(report.files.map(({ path: name }) => name).sort(), [
    'README.md',
    'model_index.json',
    'unet/model.safetensors',
  ]);
  t.equal(report.bytes, large.length + 2 * small.length);
  // Two files of the same contents are one blob.
  t.equal(report.fetched, large.length + small.length);
  t.ok(readFileSync(path.join(snapshot, 'unet/model.safetensors')).equals(large));
  t.equal(
    readlinkSync(path.join(snapshot, 'unet/model.safetensors')),
    `../../../blobs/${hub.etagOf('unet/model.safetensors')}`,
  );
  t.equal(readlinkSync(path.join(snapshot, 'model_index.json')), `../../blobs/${hub.etagOf('model_index.json')}`);
  t.equal(readFileSync(path.join(folder, 'refs/main'), 'utf8'), commit);
  t.same(
    readdirSync(path.join(folder, 'blobs')).sort(),
    ['model_index.json', 'unet/model.safetensors'].map(hub.etagOf).sort(),
  );
  t.same(
    [progress.at(-1), progress.every((part, i) => part >= (progress[i - 1] ?? 0))],
    [1, true],
    'progress only grows',
  );

  hub.seen.length = 0;
  const again = await pull('owner/name@v1');
  t.equal(again.fetched, 0);
  t.equal(hub.seen.length, 1, 'only the list is asked for');
  t.equal(readFileSync(path.join(folder, 'refs/v1'), 'utf8'), commit);
});

t.test('a mirror that does not say hashes in its list', async (t) => {
  const { hub, snapshot } = await place(t, files);
  hub.blobs = false;
  await pull('owner/name');
  t.ok(readFileSync(path.join(snapshot, 'unet/model.safetensors')).equals(large));
  t.equal(readlinkSync(path.join(snapshot, 'model_index.json')), `../../blobs/${hub.etagOf('model_index.json')}`);
});

t.test('the token goes to the hub and nowhere else', async (t) => {
  const { hub } = await place(t, files, { HF_TOKEN: ' hf_secret\n' });
  hub.token = 'hf_secret';
  await pull('owner/name');
  const of = (host: string) => hub.seen.filter((each) => each.host === host).map(({ authorization }) => authorization);
  t.ok(of('hub').length > 2 && of('hub').every((each) => each === 'Bearer hf_secret'));
  t.same(of('store'), [undefined], 'not to the host that the hub redirects to');
});

t.test('the token that `hf auth login` wrote', async (t) => {
  const { hub, env } = await place(t, files);
  hub.token = 'hf_file';
  writeFileSync(path.join(env.HF_HOME ?? '', 'token'), 'hf_file\n');
  await pull('owner/name', { files: 'README.md' });
  process.env.HF_HUB_DISABLE_IMPLICIT_TOKEN = '1';
  t.teardown(() => delete process.env.HF_HUB_DISABLE_IMPLICIT_TOKEN);
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /answers 401: Invalid username/);
});

t.test('interruptions are gone on with', async (t) => {
  const { hub, snapshot } = await place(t, files);
  let cuts = 0;
  hub.trouble = (request, response, host) => {
    if (host !== 'store' || cuts === 3) return false;
    const from = Number(/\d+/.exec(request.headers.range ?? '0'));
    cuts++;
    cut(response, large, from, 700_000);
    return true;
  };
  const report = await pull('owner/name');
  t.equal(cuts, 3);
  t.ok(readFileSync(path.join(snapshot, 'unet/model.safetensors')).equals(large));
  t.equal(report.fetched, large.length + small.length, 'no byte twice');
  const ranges = hub.seen.filter(({ host }) => host === 'store').map(({ range }) => Number(/\d+/.exec(range ?? '0')));
  t.ok(ranges.length === 4 && ranges.every((from, i) => i === 0 || from > (ranges[i - 1] ?? 0)), `from ${ranges}`);
});

t.test('aborted, and gone on with by the next call', async (t) => {
  const { hub, folder, snapshot } = await place(t, files);
  const stop = new AbortController();
  const reason = new Error('enough');
  hub.trouble = (_request, response, host) => {
    if (host !== 'store') return false;
    response.writeHead(200, { 'content-length': large.length });
    response.write(large.subarray(0, 1_000_000)); // and nothing more comes
    return true;
  };
  const onProgress = ({ loaded }: { loaded: number }) => {
    if (loaded >= 1_000_000) stop.abort(reason);
  };
  t.equal(await rejection(pull('owner/name', { signal: stop.signal, onProgress })), reason);
  t.notOk(existsSync(path.join(folder, 'refs/main')), 'nothing says that it is complete');
  t.notOk(existsSync(path.join(snapshot, 'unet/model.safetensors')));
  hub.trouble = () => false;
  const report = await pull('owner/name');
  t.ok(report.fetched < large.length - 900_000, 'what was there is not fetched again');
  t.ok(readFileSync(path.join(snapshot, 'unet/model.safetensors')).equals(large));
});

t.test('a server without ranges sends all of it again', async (t) => {
  const { hub, snapshot, folder } = await place(t, files);
  const partial = path.join(folder, 'blobs', `${hub.etagOf('unet/model.safetensors')}.incomplete`);
  mkdirSync(path.dirname(partial), { recursive: true });
  writeFileSync(partial, large.subarray(0, 1000));
  hub.trouble = (_request, response, host) => {
    if (host === 'store') response.writeHead(200, { 'content-length': large.length }).end(large);
    return host === 'store';
  };
  await pull('owner/name');
  t.ok(readFileSync(path.join(snapshot, 'unet/model.safetensors')).equals(large));
  t.notOk(existsSync(partial));
});

t.test('wrong contents', async (t) => {
  const { hub, folder, snapshot } = await place(t, files);
  const wrong = Buffer.from(large);
  wrong[2_999_999] = 0;
  const file = hub.files.get('unet/model.safetensors');
  if (file) file.sent = wrong;
  await rejectsWith(
    t,
    pull('owner/name'),
    'ERR_MODEL_FORMAT',
    /expected contents with the hash [0-9a-f]{64}, got others/,
  );
  t.notOk(existsSync(path.join(snapshot, 'unet/model.safetensors')));
  t.notOk(
    readdirSync(path.join(folder, 'blobs')).some((name) => name.startsWith(hub.etagOf('unet/model.safetensors'))),
    'they are gone',
  );
  // A small file, whose hash is Git's.
  const text = hub.files.get('README.md');
  if (text) Object.assign(text, { contents: Buffer.from('longer\n'), sent: Buffer.from('wronger') });
  await rejectsWith(t, pull('owner/name', { files: 'README.md' }), 'ERR_MODEL_FORMAT', /hash [0-9a-f]{40}, got others/);
  // Only what an earlier try left is wrong: then it is fetched once more.
  if (file) delete file.sent;
  const partial = path.join(folder, 'blobs', `${hub.etagOf('unet/model.safetensors')}.incomplete`);
  writeFileSync(partial, 'rubbish');
  await pull('owner/name', { files: 'unet/*' });
  t.ok(readFileSync(path.join(snapshot, 'unet/model.safetensors')).equals(large));
});

t.test('busy servers are asked again', async (t) => {
  const { hub } = await place(t, files);
  let refusals = 0;
  hub.trouble = (_request, response, host) => {
    if (refusals === 2) return false;
    refusals++;
    response.writeHead(refusals === 1 ? 429 : 503, { 'retry-after': '0' }).end('busy');
    return host === 'hub';
  };
  await pull('owner/name');
  t.equal(refusals, 2);
  hub.trouble = (_request, response) => {
    response.writeHead(500, { 'retry-after': '0' }).end();
    return true;
  };
  hub.seen.length = 0;
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /the server answers 500/);
  t.equal(hub.seen.length, 5, 'five times');
  hub.trouble = (_request, response) => {
    response.writeHead(429, { 'retry-after': '86400' }).end();
    return true;
  };
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /the server answers 429/);
});

t.test('a server that does not answer', async (t) => {
  const { hub } = await place(t, files, { HF_HUB_DOWNLOAD_TIMEOUT: '0.3' });
  const stuck = new Set<string>();
  hub.trouble = (request) => {
    // The first request for each thing gets no answer.
    const fresh = !stuck.has(request.url ?? '');
    stuck.add(request.url ?? '');
    return fresh && !/model_index|README/.test(request.url ?? '');
  };
  await pull('owner/name');
  t.equal(stuck.size, 4, 'README.md has the contents of another file, and is not asked for');
  hub.trouble = () => true;
  const stop = AbortSignal.timeout(2500);
  t.equal((await rejection(pull('owner/name', { signal: stop }))).name, 'TimeoutError');
});

t.test('refusals in words', async (t) => {
  const { hub } = await place(t, files);
  const answer = (status: number, headers: Record<string, string>, body = '') => {
    hub.trouble = (_request, response) => {
      response.writeHead(status, headers).end(body);
      return true;
    };
  };
  answer(403, { 'x-error-code': 'GatedRepo', 'x-error-message': 'Access to model owner/name is restricted.' });
  const gated = await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /restricted.*has to be asked for/);
  t.match(gated.remedy, /accept its conditions/);
  answer(401, { 'x-error-code': 'RepoNotFound', 'x-error-message': 'Repository not found' });
  const none = await rejectsWith(t, pull('owner/name'), 'ERR_MODEL_NOT_FOUND', /Repository not found/);
  t.match(none.remedy, /HF_TOKEN/);
  answer(404, { 'x-error-code': 'RevisionNotFound', 'x-error-message': 'Invalid rev id: x' });
  await rejectsWith(t, pull('owner/name@x'), 'ERR_MODEL_NOT_FOUND', /Invalid rev id/);
  answer(200, {}, '<html>a portal</html>');
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /expected JSON/);
  answer(200, {}, '{"sha": "main", "siblings": []}');
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /expected the commit and files/);
  answer(302, { location: 'file:///etc/passwd' });
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /an address that is not followed: file:/);
  answer(307, { location: '/again' });
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /more than 10 redirects/);
  process.env.HF_ENDPOINT = 'http://127.0.0.1:9';
  const stop = AbortSignal.timeout(300);
  t.equal(
    (await rejection(pull('owner/name', { signal: stop }))).name,
    'TimeoutError',
    'an abort ends the waiting between tries',
  );
  process.env.HF_ENDPOINT = 'nowhere';
  await rejectsWith(t, pull('owner/name'), 'ERR_INVALID_OPTION', /HF_ENDPOINT: expected an address/);
});

t.test('names that lead out of the cache', async (t) => {
  const { hub, folder } = await place(t, files);
  for (const rfilename of [
    '../x.json',
    '/etc/x.json',
    'a/../../x.json',
    'a\\b.json',
    'C:x.json',
    'a//b.json',
    'a\0.json',
    '',
    5,
  ]) {
    hub.extraNames = [{ rfilename, size: 1, blobId: 'a'.repeat(40) }];
    await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /refused the file name/);
  }
  hub.extraNames = [{ rfilename: 'x.json', size: 9, blobId: '../../../x' }];
  await rejectsWith(t, pull('owner/name'), 'ERR_MODEL_NOT_FOUND', /404/);
  t.notOk(existsSync(path.join(path.dirname(folder), 'x')));
  for (const name of ['name', '../name', 'owner/..', 'a/b/c', 'owner/name@../x', 'owner/na me', 'own--er/name', '']) {
    await rejectsWith(t, pull(name), 'ERR_INVALID_OPTION', /repository: expected owner\/name/);
  }
});

t.test('what onProgress throws ends the call', async (t) => {
  const { hub } = await place(t, files);
  const thrown = new TypeError('mine');
  const onProgress = ({ loaded }: { loaded: number }) => {
    if (loaded > 100_000) throw thrown;
  };
  t.equal(await rejection(pull('owner/name', { onProgress })), thrown);
  t.equal(hub.seen.filter(({ host }) => host === 'store').length, 1, 'and is no reason to try again');
});

t.test('which files', async (t) => {
  const names = [
    'config.json', 'model.safetensors', 'pytorch_model.bin', 'tf_model.h5', 'flax_model.msgpack', 'optimizer.bin',
    'open_clip_pytorch_model.bin', 'paella_v3.pt', 'onnx/model.bin', 'LICENSE', 'sub/pytorch_model.bin',
  ]; // biome-ignore format: a list
  await place(t, Object.fromEntries(names.map((name, i) => [name, Buffer.from(`${i}`)])));
  const pulled = async (patterns?: string[]) =>
    (await pull('owner/name', patterns ? { files: patterns } : {})).files.map((file) => file.path).sort();
  t.same(await pulled(), [
    'LICENSE', 'config.json', 'model.safetensors', 'open_clip_pytorch_model.bin', 'paella_v3.pt', 'sub/pytorch_model.bin',
  ]); // biome-ignore format: a list
  t.same(await pulled(['*.bin']), ['open_clip_pytorch_model.bin', 'optimizer.bin', 'pytorch_model.bin']);
  t.same(await pulled(['**.bin', 'config.json']), [
    'config.json', 'onnx/model.bin', 'open_clip_pytorch_model.bin', 'optimizer.bin', 'pytorch_model.bin', 'sub/pytorch_model.bin',
  ]); // biome-ignore format: a list
  const error = await rejectsWith(
    t,
    pull('owner/name', { files: 'confg.json' }),
    'ERR_MODEL_NOT_FOUND',
    /has no "confg\.json"/,
  );
  t.match(error.remedy, /did you mean config\.json/);
});

t.test('two at once fetch it once', async (t) => {
  const { hub, snapshot } = await place(t, files);
  const reports = await Promise.all([pull('owner/name'), pull('owner/name'), pull('owner/name')]);
  t.equal(
    reports.reduce((sum, { fetched }) => sum + fetched, 0),
    large.length + small.length,
  );
  t.equal(hub.seen.filter(({ host }) => host === 'store').length, 1);
  t.ok(readFileSync(path.join(snapshot, 'unet/model.safetensors')).equals(large));
});

t.test('a lock of a process that is gone', async (t) => {
  const { hub, folder } = await place(t, files);
  const lock = path.join(
    path.dirname(folder),
    '.locks/models--owner--name',
    `${hub.etagOf('unet/model.safetensors')}.paella.lock`,
  );
  mkdirSync(path.dirname(lock), { recursive: true });
  const { hostname } = await import('node:os');
  writeFileSync(lock, `${hostname()} 4194000`);
  await pull('owner/name');
  t.notOk(existsSync(lock));
});

/** tiny, as somebody would publish it. */
function tinyFiles(): Record<string, Buffer> {
  const folder = path.join(root, 'models/tiny');
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.\w+$/.test(name));
  return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(folder, name))]));
}

t.test('a model of a hub by its name', async (t) => {
  const { hub } = await place(t, tinyFiles());
  const phases = new Set<string>();
  const engine = await Paella.load({
    model: 'owner/name',
    backend: 'cpu',
    onProgress: ({ phase }) => phases.add(phase),
  });
  t.equal(engine.model.name, 'tiny');
  t.ok(phases.has('download') && phases.has('unet'));
  await engine.dispose();
  hub.seen.length = 0;
  await (await Paella.load({ model: 'owner/name', backend: 'cpu' })).dispose();
  t.same(hub.seen, [], 'from the cache, without asking');
  process.env.HF_HUB_OFFLINE = '1';
  await (await Paella.load({ model: 'owner/name', backend: 'cpu' })).dispose();
  const error = await rejectsWith(
    t,
    Paella.load({ model: 'owner/other' }),
    'ERR_MODEL_NOT_FOUND',
    /neither a folder here nor in the cache .*HF_HUB_OFFLINE/,
  );
  t.match(error.remedy, /unset HF_HUB_OFFLINE/);
  await rejectsWith(t, pull('owner/name'), 'ERR_NETWORK', /HF_HUB_OFFLINE is set/);
});

t.test('checkpoints of a hub: fetched, then converted by the name', async (t) => {
  const folder = path.join(root, 'test/golden/torch/official');
  const names = ['paella_v3.pt', 'paella_v3.json', 'vqgan_f4.pt', 'byt5/pytorch_model.bin', 'byt5/config.json'];
  const contents = Object.fromEntries(names.map((name) => [name, readFileSync(path.join(folder, name))]));
  const { hub, env } = await place(t, contents);
  const error = await rejectsWith(
    t,
    Paella.load({ model: 'owner/name' }),
    'ERR_MODEL_FORMAT',
    /owner\/name holds no model folder/,
  );
  t.match(error.remedy, /paella pull owner\/name, then paella convert/);
  t.equal(hub.seen.filter(({ url }) => url.includes('resolve')).length, 0, 'nothing was fetched for that');
  const pulled = await paella(['pull', 'owner/name'], { env });
  t.equal(pulled.code, 0, pulled.stderr);
  t.match(pulled.stdout, /paella_v3\.pt[\s\S]* fetched, commit c{40}\n.*snapshots/);
  const output = path.join(temporaryFolder(t), 'model');
  const report = await convert('owner/name', { output });
  t.equal(report.components.length, 3);
  await (await Paella.load({ model: output, backend: 'cpu' })).dispose();
  const wrong = await paella(['pull', 'owner/name', 'nothing.pt', '--json'], { env });
  t.match(wrong, { code: 1, stdout: /ERR_MODEL_NOT_FOUND/ });
});

t.test('a disk that is not to be written to', async (t) => {
  const { env } = await place(t, files);
  process.env.HF_HUB_CACHE = path.join(env.HF_HOME ?? '', 'file');
  writeFileSync(process.env.HF_HUB_CACHE, '');
  await rejectsWith(t, pull('owner/name'), 'ERR_IO', /cannot be written/);
});
