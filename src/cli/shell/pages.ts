/** Every page of a list that comes in pages, in order: `ask` gets the `next` of the page before, and null at first. */
export async function* pagesOf<Page extends { next: string | null }>(
  ask: (after: string | null) => Promise<Page>,
): AsyncGenerator<Page> {
  for (let after: string | null = null, isFirst = true; isFirst || after !== null; isFirst = false) {
    const page: Page = await ask(after)
    yield page
    after = page.next
  }
}
