import type { BrowserContextOptions, Page } from 'playwright-core'
import type { Stack } from './stack.ts'

/** What a noun's own tests in a browser, `test/e2e/<noun>/browser.ts`, get from test/e2e/browser.test.ts, whose stack they share. */
export interface BrowserGiven {
  stack(): Stack
  /** A page in a browser of one person's own. */
  open(options?: BrowserContextOptions): Promise<Page>
  signUp(page: Page, handle: string): Promise<void>
  logIn(page: Page, login: string): Promise<void>
  /** Presses Tab until the element with this id has the focus. */
  tabTo(page: Page, id: string): Promise<void>
  /** The pages at these paths that are wider than the window; without paths, the page that is shown. */
  tooWide(page: Page, paths?: string[]): Promise<string[]>
}
