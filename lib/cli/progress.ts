/** One line on stderr that is written over; nothing when stderr is no terminal. */
export class Progress {
  readonly #visible = process.stderr.isTTY === true;
  #shown = false;

  show(text: string): void {
    if (!this.#visible) return;
    process.stderr.write(`\r\x1b[2K${text}`);
    this.#shown = true;
  }

  bar(text: string, done: number, total: number): void {
    const width = 24;
    const filled = total > 0 ? Math.round((done / total) * width) : 0;
    this.show(
      `${text} ${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${Math.round((done / Math.max(1, total)) * 100)} %`,
    );
  }

  clear(): void {
    if (this.#shown) process.stderr.write('\r\x1b[2K');
    this.#shown = false;
  }
}
