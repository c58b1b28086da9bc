import { contactSheet } from '/work/main/scripts/evaluate/sheet.js';
import { json, markdown } from '/work/main/scripts/evaluate/report.js';
import { assess } from '/work/main/scripts/evaluate/judge.js';
import { readExpectations } from '/work/main/scripts/evaluate/expectation.js';
import sharp from 'sharp'; import {writeFileSync} from 'node:fs';
const e=await readExpectations('scripts/train/heldout.json'); const shown=[];
for(let i=0;i<48;i++){const k=i*8+(i%5===0?1:0); const {data,info}=await sharp(`/tmp/pngs/${String(k).padStart(4,'0')}.png`).raw().toBuffer({resolveWithObject:true}); const picture={width:info.width,height:info.height,data:new Uint8Array(data)}; shown.push({seed:i,picture,judged:assess(e[i*8]!,picture)});}
writeFileSync('/tmp/sheet.png',await contactSheet(shown)); const st={model:'tiny',backend:'cpu',precision:'bf16',captions:'x',width:64,height:64,steps:8,guidanceScale:[3,3] as const,temperature:[1,.2] as const,seed:1};
console.log(markdown(st,shown,'npm run evaluate')); console.log(json(st,shown).slice(0,300)); JSON.parse(json(st,shown));
