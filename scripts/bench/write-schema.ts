/** `npm run bench:schema`: writes lib/cli/bench/schema.json from schema.ts beside it. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { jsonSchema } from '../../lib/cli/bench/schema.js';

const file = path.resolve(import.meta.dirname, '../../lib/cli/bench/schema.json');
writeFileSync(file, `${JSON.stringify(jsonSchema(), null, 2)}\n`);
