/** The application's nouns, one line each. */
export { accounts } from './accounts/noun.ts'
export { follows } from './follows/noun.ts'
export { imports } from './imports/noun.ts'
export { jobs } from './jobs/noun.ts'
export { media } from './media/noun.ts'
export { posts } from './posts/noun.ts'
export { profiles } from './profiles/noun.ts'
export { search } from './search/noun.ts'
