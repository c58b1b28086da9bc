import fs = require('node:fs');
import path = require('node:path');

/**
 * The folder of this package: the one that holds package.json, models/ and the native addon. It is found by walking
 * up, because this file runs from lib/ (tests), dist/esm/ and dist/cjs/.
 *
 * A CommonJS file on purpose: it is the one kind that knows its own location in both builds.
 */
function find(): { folder: string; version: string } {
  for (let folder = __dirname; ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'package.json');
    if (fs.existsSync(file)) {
      // dist/cjs has a package.json of its own, which only says what kind of modules it holds.
      const { name, version } = JSON.parse(fs.readFileSync(file, 'utf8')) as { name?: string; version?: string };
      if (name === 'paella-native') return { folder, version: String(version) };
    }
    if (folder === path.dirname(folder)) throw new Error(`paella-native: no package.json above ${__dirname}`);
  }
}

const found = find();
/** Absolute path. */
export const packageRoot: string = found.folder;
export const packageVersion: string = found.version;
