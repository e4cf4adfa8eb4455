#!/usr/bin/env node
// In the repository as it is, since npm links and marks programs before anything is built.
import '../dist/create-sallyport.js'
