// Imported first, because wrangler reads this when it is loaded.
process.env.WRANGLER_LOG ??= 'none'
