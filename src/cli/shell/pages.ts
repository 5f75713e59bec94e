/** Yields every page of a paged list, in order. `ask` gets the previous page's `next`, and null for the first page. */
export async function* pagesOf<Page extends { next: string | null }>(
  ask: (after: string | null) => Promise<Page>,
): AsyncGenerator<Page> {
  for (let after: string | null = null, isFirst = true; isFirst || after !== null; isFirst = false) {
    const page: Page = await ask(after)
    yield page
    after = page.next
  }
}
