# Arguments come as JSON on standard input; what is printed is the result.
cat > /dev/null
echo '{"opens": "12:00", "closes": "24:00"}'
