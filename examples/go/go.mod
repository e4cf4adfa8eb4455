module example.com/sallyport-example

go 1.19
