/**
 * node make-stubs.mjs <folder of TensorRT's headers> <file to write>
 *
 * For each of TensorRT's abstract classes that the stand-in plays, a class that overrides every function with one that ends
 * the process and says its name: so that the stand-in writes down only what it plays, and anything else that the plug-in
 * calls shows.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const [folder, output] = process.argv.slice(2);
const classes = [
  ['NvInferImpl.h', 'nvinfer1::apiv', 'VRuntime'],
  ['NvInferImpl.h', 'nvinfer1::apiv', 'VCudaEngine'],
  ['NvInferImpl.h', 'nvinfer1::apiv', 'VExecutionContext'],
  ['NvInferImpl.h', 'nvinfer1::apiv', 'VEngineInspector'],
  ['NvInferImpl.h', 'nvinfer1::apiv', 'VRefitter'],
  ['NvOnnxParser.h', 'nvonnxparser', 'IParserRefitter'],
];

/** The functions `virtual … = 0` of a class, without the last word. */
function functionsOf(file, name) {
  const text = readFileSync(path.join(folder, file), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\/\/.*$/gm, '');
  const start = text.search(new RegExp(`^class ${name}\\b[^;{]*\\{`, 'm'));
  const end = text.indexOf('\n};', start);
  if (start < 0 || end < 0) throw new Error(`${file}: expected class ${name}, found none`);
  return [...text.slice(start, end).matchAll(/\bvirtual\s+([^;{}]*?)\s*=\s*0\s*;/g)].map(([, declaration]) =>
    // Default values belong to the base class.
    declaration.replace(/\s+/g, ' ').replace(/ = [\w:{}]+(?=[,)])/g, ''),
  );
}

const parts = classes.map(([file, space, name]) => {
  const functions = functionsOf(file, name).map((declaration) => {
    const [, called] = declaration.match(/([~\w]+)\s*\(/) ?? [];
    return `  ${declaration} override { unexpected("${name}::${called}"); }`;
  });
  const alias = `namespace stubs { using namespace nvinfer1; using namespace nvonnxparser;`;
  return `${alias}\nclass ${name} : public ${space}::${name} {\n public:\n${functions.join('\n')}\n};\n}\n`;
});
writeFileSync(
  output,
  [
    '#pragma once',
    '#include <NvInfer.h>',
    '#include <NvOnnxParser.h>',
    '#include <cstdio>',
    '#include <cstdlib>',
    '[[noreturn]] inline void unexpected(const char* name) { std::fprintf(stderr, "stand-in: unexpected %s\\n", name); std::abort(); }',
    ...parts,
  ].join('\n'),
);
