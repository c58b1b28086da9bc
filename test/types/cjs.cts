import paella = require('paella-native');

export async function use(): Promise<Buffer | undefined> {
  const images: paella.GeneratedImage[] = await paella.generate({ prompt: 'a' });
  const engine: paella.Paella = await paella.Paella.load();
  const error: paella.PaellaError = new paella.PaellaError('ERR_DISPOSED', 'text');
  const code: paella.PaellaErrorCode = error.code;
  await engine.dispose({ abort: code === 'ERR_DISPOSED' });
  return images[0]?.encode('png');
}
