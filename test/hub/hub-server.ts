/** A hub on this machine: two servers, because large files come from another host than the hub itself. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

export const commit = 'c'.repeat(40);

export interface Seen {
  host: 'hub' | 'store';
  method: string;
  url: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** What happens to a request before it is answered properly. Returns whether it was dealt with. */
export type Trouble = (request: IncomingMessage, response: ServerResponse, host: Seen['host']) => boolean;

export interface Hub {
  endpoint: string;
  seen: Seen[];
  /** Asked first for every request. */
  trouble: Trouble;
  /** Whether the list says sizes and hashes. */
  blobs: boolean;
  /** Needed for everything, if set. */
  token: string | undefined;
  files: Map<string, HubFile>;
  /** Names in the list beside those of `files`. */
  extraNames: unknown[];
  etagOf(path: string): string;
}

export interface HubFile {
  contents: Buffer;
  lfs: boolean;
  /** What is sent instead. */
  sent?: Buffer;
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes: Buffer): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

export async function startHub(t: Test, files: Record<string, Buffer>): Promise<Hub> {
  const etag = ({ contents, lfs }: HubFile) => (lfs ? sha256(contents) : gitSha1(contents));
  const hub: Hub = {
    endpoint: '',
    seen: [],
    trouble: () => false,
    blobs: true,
    token: undefined,
    files: new Map(
      Object.entries(files).map(([path, contents]) => [path, { contents, lfs: /\.(safetensors|pt|bin)$/.test(path) }]),
    ),
    extraNames: [],
    etagOf: (path) => etag(hub.files.get(path) as HubFile),
  };
  const note = (request: IncomingMessage, host: Seen['host']) => {
    const { method = '', url = '', headers } = request;
    hub.seen.push({ host, method, url, authorization: headers.authorization, range: headers.range });
  };

  const store = await listen(t, (request, response) => {
    note(request, 'store');
    if (hub.trouble(request, response, 'store')) return;
    const file = hub.files.get(decodeURIComponent((request.url ?? '').slice('/blob/'.length)));
    if (file) send(request, response, file.sent ?? file.contents, {});
    else response.writeHead(404).end();
  });
  const storeAddress = address(store);

  const main = await listen(t, (request, response) => {
    note(request, 'hub');
    if (hub.trouble(request, response, 'hub')) return;
    if (hub.token !== undefined && request.headers.authorization !== `Bearer ${hub.token}`) {
      response.writeHead(401, { 'x-error-message': 'Invalid username or password.' }).end();
      return;
    }
    const url = decodeURIComponent(request.url ?? '');
    if (/^\/api\/models\/owner\/name\/revision\/(main|v1|c{40})\?blobs=true$/.test(url)) return list(response);
    const path = /^\/owner\/name\/resolve\/c{40}\/(.+)$/.exec(url)?.[1];
    const file = path === undefined ? undefined : hub.files.get(path);
    if (!file) {
      response.writeHead(404, { 'x-error-code': 'RepoNotFound', 'x-error-message': 'Repository not found' }).end();
      return;
    }
    const linked = {
      'x-repo-commit': commit,
      'x-linked-size': String(file.contents.length),
      'x-linked-etag': `"${etag(file)}"`,
    };
    if (file.lfs) {
      response.writeHead(302, { ...linked, location: `${storeAddress}/blob/${encodeURIComponent(path ?? '')}` }).end();
    } else send(request, response, file.sent ?? file.contents, { etag: `W/"${etag(file)}"`, 'x-repo-commit': commit });
  });

  function list(response: ServerResponse): void {
    const siblings = [...hub.files].map(([rfilename, file]) => {
      const { contents, lfs } = file;
      if (!hub.blobs) return { rfilename };
      const blob = { rfilename, size: contents.length, blobId: gitSha1(contents) };
      return lfs ? { ...blob, lfs: { sha256: sha256(contents), size: contents.length, pointerSize: 130 } } : blob;
    });
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ id: 'owner/name', sha: commit, siblings: [...siblings, ...hub.extraNames] }));
  }

  hub.endpoint = address(main);
  return hub;
}

/** With ranges. */
function send(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  headers: Record<string, string>,
): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN);
  const part = Number.isNaN(from) ? bytes : bytes.subarray(from);
  const range = Number.isNaN(from) ? {} : { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
  response.writeHead(Number.isNaN(from) ? 200 : 206, { ...headers, ...range, 'content-length': part.length });
  if (request.method === 'HEAD') response.end();
  else response.end(part);
}

async function listen(t: Test, handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return server;
}

const address = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** Sends the first `bytes` of an answer and breaks the connection. */
export function cut(response: ServerResponse, contents: Buffer, from: number, bytes: number): void {
  const range = from > 0 ? { 'content-range': `bytes ${from}-${contents.length - 1}/${contents.length}` } : {};
  response.writeHead(from > 0 ? 206 : 200, { ...range, 'content-length': contents.length - from });
  response.write(contents.subarray(from, from + bytes), () => response.destroy());
}
