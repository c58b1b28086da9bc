/** What yargs fills in, and commands that reproduce a row leave out. */
export const benchDefaults = { prompt: 'a red circle above a blue square', repeat: '10', warmup: '2' } as const;
