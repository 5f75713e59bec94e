/** Runs one piece of asynchronous work after another, in the order of the calls. A failure does not stop the next. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.then(ignore, ignore)
    return result
  }
}

/** The caller handles the result. The next piece of work only needs to know that this one has ended. */
const ignore = (): void => undefined
